use heman_client::SecretKey;
use heman_core::{cpu::CpuBackend, exec::Session, import::*, planner::*, progress::NoProgress};
use std::time::Instant;
fn f32s(p: &str) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(&std::fs::read(p).unwrap())
}
fn main() {
    let name = std::env::args().nth(1).unwrap();
    let n: usize = std::env::args().nth(2).map_or(1, |s| s.parse().unwrap());
    let net = import_file(format!("/work/shared/data/he-man/models/{name}.onnx").as_ref()).unwrap();
    let cal: Vec<Vec<f32>> = f32s("/tmp/cal32.f32").chunks(1024).map(<[f32]>::to_vec).collect();
    let plan = plan(&net, &cal, &Options::default(), &NoProgress).unwrap().plan;
    println!("{:?}", plan.params.tfhe);
    let t = Instant::now();
    let key = SecretKey::generate(&plan.params).unwrap();
    let seeded = key.evaluation_key(&NoProgress);
    println!("keygen {:?}", t.elapsed());
    let t = Instant::now();
    let keys = seeded.expand();
    println!("expand {:?}", t.elapsed());
    let t = Instant::now();
    let backend = CpuBackend::new(0).unwrap();
    let session = Session::new(&backend, &plan, &keys).unwrap();
    println!("load {:?}", t.elapsed());
    let test = f32s("/tmp/test32.f32");
    let x = &test[..n * 1024];
    let t = Instant::now();
    let enc = key.encrypt(x, true).unwrap();
    println!("encrypt {:?}", t.elapsed());
    let t = Instant::now();
    let (out, timings) = session.run(&enc, &NoProgress).unwrap();
    println!("run {:?} {:?}", t.elapsed(), timings);
    for (v, x) in key.decrypt_values(&out).iter().zip(x.chunks(1024)) {
        let x: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
        println!("{:.2?}\n{:.2?}", v, net.evaluate(&x).1);
    }
}
