//! Linear maps: `linear/<backend>/<outputs>x<values>_<words>/<inputs>`.
#![allow(missing_docs, reason = "criterion's macros define undocumented items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use heman_benches::{OnBackend, dense, filled, on_every_backend};
use heman_core::ckks::ops::RnsDevice;
use heman_core::tfhe::ops::TfheBackend;

struct Linear<'c>(&'c mut Criterion);

impl OnBackend for Linear<'_> {
    fn run<B: TfheBackend + RnsDevice>(&mut self, name: &str, backend: &B) {
        let mut group = self.0.benchmark_group(format!("linear/{name}"));
        group.sample_size(10);
        for (outputs, values, row_words, inputs) in [(128, 400, 2049, 1), (120, 7328, 2049, 1), (128, 400, 2049, 8)] {
            let map = backend.load_affine(&dense(outputs, values)).expect("loads");
            let input = filled(backend, values * inputs * row_words).expect("memory");
            let mut out = backend.allocate(outputs * inputs * row_words).expect("memory");
            group.throughput(Throughput::Elements((outputs * values * inputs * row_words) as u64));
            group.bench_function(format!("{outputs}x{values}_{row_words}/{inputs}"), |bencher| {
                bencher.iter(|| {
                    backend.affine(&map, inputs, row_words, &input, &mut out).expect("runs");
                    backend.sync().expect("runs");
                });
            });
        }
    }
}

fn linear(criterion: &mut Criterion) {
    on_every_backend(&mut Linear(criterion));
}

criterion_group!(benches, linear);
criterion_main!(benches);
