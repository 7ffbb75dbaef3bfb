//! Operations on ciphertexts of CKKS: `<operation>/<backend>/<ring>/<ciphertexts>`, where the operation is `add`,
//! `multiply` (with relinearisation), `rescale` or `rotate`; one ciphertext for latency, many for throughput.
#![allow(missing_docs, reason = "criterion's macros define undocumented items")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use heman_benches::{OnBackend, on_every_backend};
use heman_core::ckks::ops::RnsDevice;
use heman_core::tfhe::ops::TfheBackend;
use heman_engine::measure::primitives::{CkksBench, rings};

#[derive(Clone, Copy)]
enum Operation {
    Add,
    Multiply,
    Rescale,
    Rotate,
}

const OPERATIONS: [(Operation, &str); 4] = [
    (Operation::Add, "add"),
    (Operation::Multiply, "multiply"),
    (Operation::Rescale, "rescale"),
    (Operation::Rotate, "rotate"),
];

struct Each<'c>(&'c mut Criterion, Operation, &'static str);

impl OnBackend for Each<'_> {
    fn run<B: TfheBackend + RnsDevice>(&mut self, name: &str, backend: &B) {
        let Self(criterion, operation, id) = self;
        let mut group = criterion.benchmark_group(format!("{id}/{name}"));
        group.sample_size(10);
        for (ring, params) in rings() {
            let bench = CkksBench::new(backend, &params).expect("loads");
            for count in [1, 32] {
                let own = bench.ciphertexts(count).expect("memory");
                let mut sums = own.clone();
                group.throughput(Throughput::Elements(count as u64));
                group.bench_function(format!("{ring}/{count}"), |bencher| match operation {
                    Operation::Add => bencher.iter(|| bench.add(&mut sums, &own).expect("runs")),
                    Operation::Multiply => bencher.iter(|| bench.release(bench.multiply(&own).expect("runs"))),
                    Operation::Rescale => {
                        let rescale = |own| bench.rescale(own).expect("runs");
                        bencher.iter_batched(|| own.clone(), rescale, BatchSize::PerIteration);
                    }
                    Operation::Rotate => bencher.iter(|| bench.release(bench.rotate(&own).expect("runs"))),
                });
            }
        }
    }
}

fn ciphertexts(criterion: &mut Criterion) {
    for (operation, id) in OPERATIONS {
        on_every_backend(&mut Each(criterion, operation, id));
    }
}

criterion_group!(benches, ciphertexts);
criterion_main!(benches);
