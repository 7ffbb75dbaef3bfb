//! Bootstrap: `bootstrap/cpu/<set>/<rows>`; one row for latency, many for throughput.
#![allow(missing_docs, reason = "criterion's macros define undocumented items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use heman_benches::{filled, keys, sets};
use heman_core::backend::{BootstrapOps, BootstrapStep};
use heman_core::cpu::CpuBackend;

fn bootstrap(criterion: &mut Criterion) {
    let backend = CpuBackend::new(0).expect("threads");
    let mut group = criterion.benchmark_group("bootstrap/cpu");
    group.sample_size(10);
    for (name, params) in sets() {
        let key = backend.load_bootstrap_key(&keys(params)).expect("loads");
        let size = params.polynomial_size;
        let tables = backend.load_tables(size, &filled(&backend, size)).expect("loads");
        for rows in [1, 128] {
            let input = filled(&backend, rows * params.small_row_words());
            let mut out = filled(&backend, rows * params.big_row_words());
            let (table_of_value, row_of_value): (Vec<u32>, Vec<u32>) = (0..rows as u32).map(|row| (0, row)).unzip();
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(format!("{name}/{rows}"), |bencher| {
                bencher.iter(|| {
                    let step = BootstrapStep {
                        tables: &tables,
                        table_of_value: &table_of_value,
                        row_of_value: &row_of_value,
                        images: 1,
                    };
                    backend.bootstrap(&key, &step, &input, &mut out).expect("runs");
                });
            });
        }
    }
}

criterion_group!(benches, bootstrap);
criterion_main!(benches);
