//! Bootstrap: `bootstrap/cpu/<set>/<rows>`; one row for latency, many for throughput.
#![allow(missing_docs, reason = "criterion's macros define undocumented items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use heman_benches::{keys, sets, words};
use heman_core::device::cpu::CpuBackend;
use heman_core::tfhe::ops::BootstrapOps;
use heman_core::tfhe::table_set::TableSet;

fn bootstrap(criterion: &mut Criterion) {
    let backend = CpuBackend::new(0).expect("threads");
    let mut group = criterion.benchmark_group("bootstrap/cpu");
    group.sample_size(10);
    for (name, params) in sets() {
        let key = backend.load_bootstrap_key(&keys(params)).expect("loads");
        let size = params.polynomial_size;
        for rows in [1, 128] {
            let input = words(rows * params.small_row_words());
            let mut out = words(rows * params.big_row_words());
            let tables = backend.load_tables(TableSet::shared(words(size), rows)).expect("loads");
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(format!("{name}/{rows}"), |bencher| {
                bencher.iter(|| backend.bootstrap(&key, &tables, 1, &input, &mut out).expect("runs"));
            });
        }
    }
}

criterion_group!(benches, bootstrap);
criterion_main!(benches);
