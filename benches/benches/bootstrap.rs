//! Bootstrap: `bootstrap/<backend>/<set>/<rows>`; one row for latency, many for throughput.
#![allow(missing_docs, reason = "criterion's macros define undocumented items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use heman_benches::{OnBackend, on_every_backend, sets};
use heman_core::ckks::ops::RnsDevice;
use heman_core::tfhe::ops::TfheBackend;
use heman_engine::measure::primitives::TfheBench;

struct Bootstrap<'c>(&'c mut Criterion);

impl OnBackend for Bootstrap<'_> {
    fn run<B: TfheBackend + RnsDevice>(&mut self, name: &str, backend: &B) {
        let mut group = self.0.benchmark_group(format!("bootstrap/{name}"));
        group.sample_size(10);
        for (set, params) in sets() {
            // Not every device has a kernel for every ring.
            let Ok(bench) = TfheBench::new(backend, params) else { continue };
            for rows in [1, 128] {
                let mut run = bench.bootstrap(rows).expect("memory");
                group.throughput(Throughput::Elements(rows as u64));
                group.bench_function(format!("{set}/{rows}"), |bencher| bencher.iter(|| run().expect("runs")));
            }
        }
    }
}

fn bootstrap(criterion: &mut Criterion) {
    on_every_backend(&mut Bootstrap(criterion));
}

criterion_group!(benches, bootstrap);
criterion_main!(benches);
