//! Keyswitch: `keyswitch/<backend>/<set>/<rows>`; one row for latency, many for throughput.
#![allow(missing_docs, reason = "criterion's macros define undocumented items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use heman_benches::{OnBackend, on_every_backend, sets};
use heman_core::ckks::ops::RnsDevice;
use heman_core::tfhe::ops::TfheBackend;
use heman_engine::measure::primitives::TfheBench;

struct Keyswitch<'c>(&'c mut Criterion);

impl OnBackend for Keyswitch<'_> {
    fn run<B: TfheBackend + RnsDevice>(&mut self, name: &str, backend: &B) {
        let mut group = self.0.benchmark_group(format!("keyswitch/{name}"));
        group.sample_size(10);
        for (set, params) in sets() {
            // Not every device has a kernel for every ring.
            let Ok(bench) = TfheBench::new(backend, params) else { continue };
            for rows in [1, 256] {
                let mut run = bench.keyswitch(rows).expect("memory");
                group.throughput(Throughput::Elements(rows as u64));
                group.bench_function(format!("{set}/{rows}"), |bencher| bencher.iter(|| run().expect("runs")));
            }
        }
    }
}

fn keyswitch(criterion: &mut Criterion) {
    on_every_backend(&mut Keyswitch(criterion));
}

criterion_group!(benches, keyswitch);
criterion_main!(benches);
