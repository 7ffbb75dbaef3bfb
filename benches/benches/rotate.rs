//! Rotations: `rotate/<backend>/<ring>/<ciphertexts>`; one ciphertext for latency, many for throughput.
#![allow(missing_docs, reason = "criterion's macros define undocumented items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use heman_benches::{OnBackend, on_every_backend};
use heman_core::ckks::ops::RnsDevice;
use heman_core::tfhe::ops::TfheBackend;
use heman_engine::measure::primitives::{CkksBench, rings};

struct Rotate<'c>(&'c mut Criterion);

impl OnBackend for Rotate<'_> {
    fn run<B: TfheBackend + RnsDevice>(&mut self, name: &str, backend: &B) {
        let mut group = self.0.benchmark_group(format!("rotate/{name}"));
        group.sample_size(10);
        for (ring, params) in rings() {
            let bench = CkksBench::new(backend, &params).expect("loads");
            for count in [1, 32] {
                let own = bench.ciphertexts(count).expect("memory");
                group.throughput(Throughput::Elements(count as u64));
                group.bench_function(format!("{ring}/{count}"), |bencher| {
                    bencher.iter(|| bench.release(bench.rotate(&own).expect("runs")));
                });
            }
        }
    }
}

fn rotate(criterion: &mut Criterion) {
    on_every_backend(&mut Rotate(criterion));
}

criterion_group!(benches, rotate);
criterion_main!(benches);
