//! Matrices times ciphertexts: `matrix/<backend>/<ring>/<rows>x<terms>`.
#![allow(missing_docs, reason = "criterion's macros define undocumented items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use heman_benches::{OnBackend, on_every_backend};
use heman_core::ckks::ops::RnsDevice;
use heman_core::tfhe::ops::TfheBackend;
use heman_engine::measure::primitives::{CkksBench, rings};

struct MatrixProduct<'c>(&'c mut Criterion);

impl OnBackend for MatrixProduct<'_> {
    fn run<B: TfheBackend + RnsDevice>(&mut self, name: &str, backend: &B) {
        let mut group = self.0.benchmark_group(format!("matrix/{name}"));
        group.sample_size(10);
        for (ring, params) in rings() {
            let bench = CkksBench::new(backend, &params).expect("loads");
            let (rows, terms) = CkksBench::<B::Ring>::map_shape();
            let own = bench.ciphertexts(terms).expect("memory");
            group.throughput(Throughput::Elements((rows * terms) as u64));
            group.bench_function(format!("{ring}/{rows}x{terms}"), |bencher| {
                bencher.iter(|| bench.release(bench.matrix(&own).expect("runs")));
            });
        }
    }
}

fn matrix(criterion: &mut Criterion) {
    on_every_backend(&mut MatrixProduct(criterion));
}

criterion_group!(benches, matrix);
criterion_main!(benches);
