//! Linear maps: `linear/cpu/<outputs>x<values>_<words>/<inputs>`.
#![allow(missing_docs, reason = "criterion's macros define undocumented items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use heman_benches::{dense, words};
use heman_core::device::cpu::CpuBackend;
use heman_core::tfhe::ops::LinearOps;

fn linear(criterion: &mut Criterion) {
    let backend = CpuBackend::new(0).expect("threads");
    let mut group = criterion.benchmark_group("linear/cpu");
    group.sample_size(10);
    for (outputs, values, row_words, inputs) in [(128, 400, 2049, 1), (120, 7328, 2049, 1), (128, 400, 2049, 8)] {
        let map = backend.load_affine(&dense(outputs, values)).expect("loads");
        let input = words(values * inputs * row_words);
        let mut out = words(outputs * inputs * row_words);
        group.throughput(Throughput::Elements((outputs * values * inputs * row_words) as u64));
        group.bench_function(format!("{outputs}x{values}_{row_words}/{inputs}"), |bencher| {
            bencher.iter(|| backend.affine(&map, inputs, row_words, &input, &mut out).expect("runs"));
        });
    }
}

criterion_group!(benches, linear);
criterion_main!(benches);
