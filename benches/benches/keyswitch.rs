//! Keyswitch: `keyswitch/cpu/<set>/<rows>`; one row for latency, many for throughput.
#![allow(missing_docs, reason = "criterion's macros define undocumented items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use heman_benches::{keys, sets, words};
use heman_core::device::cpu::CpuBackend;
use heman_core::tfhe::ops::KeyswitchOps;

fn keyswitch(criterion: &mut Criterion) {
    let backend = CpuBackend::new(0).expect("threads");
    let mut group = criterion.benchmark_group("keyswitch/cpu");
    group.sample_size(10);
    for (name, params) in sets() {
        let key = backend.load_keyswitch_key(&keys(params)).expect("loads");
        for rows in [1, 256] {
            let input = words(rows * params.big_row_words());
            let mut out = words(rows * params.small_row_words());
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(format!("{name}/{rows}"), |bencher| {
                bencher.iter(|| backend.keyswitch(&key, rows, &input, &mut out).expect("runs"));
            });
        }
    }
}

criterion_group!(benches, keyswitch);
criterion_main!(benches);
