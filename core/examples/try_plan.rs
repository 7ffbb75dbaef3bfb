use heman_core::{import::*, noise, planner::*, progress::NoProgress, simulate::Simulator};
fn f32s(p: &str) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(&std::fs::read(p).unwrap())
}
fn main() {
    let name = std::env::args().nth(1).unwrap();
    let loss: f64 = std::env::args().nth(2).map_or(0.005, |s| s.parse().unwrap());
    let net = import_file(format!("/work/shared/data/he-man/models/{name}.onnx").as_ref()).unwrap();
    let cal: Vec<Vec<f32>> = f32s("/tmp/cal32.f32").chunks(1024).map(<[f32]>::to_vec).collect();
    let t = std::time::Instant::now();
    let planned =
        plan(&net, &cal, &Options { max_loss: loss, ..Default::default() }, &NoProgress).unwrap_or_else(|e| {
            println!("{e}");
            std::process::exit(1)
        });
    println!("planned in {:?}, weight bits {}", t.elapsed(), planned.weight_bits);
    for (c, l) in &planned.trials {
        println!("  {:.2} ms noise {:.4} loss {l:.4} {:?}", c.seconds * 1e3, c.noise.sqrt(), c.params);
    }
    let p = &planned.plan;
    println!("{:?}", p.params.prediction);
    println!(
        "std pbs 2^{:.2} ks 2^{:.2} ms 2^{:.2}",
        noise::bootstrap_variance(&p.params.tfhe).log2() / 2.,
        noise::keyswitch_variance(&p.params.tfhe).log2() / 2.,
        noise::modulus_switch_variance(&p.params.tfhe).log2() / 2.
    );
    for s in &p.stages {
        println!(
            "{} {} rows {} terms {} blocks {} max|q| {:?}",
            s.name,
            s.operator,
            s.affine.rows,
            s.affine.term_count(),
            s.affine.blocks.len(),
            s.affine.blocks.iter().flat_map(|b| &b.weights).map(|w| w.abs()).max()
        );
    }
    println!(
        "out terms {} max {:?}",
        p.output.term_count(),
        p.output.blocks.iter().flat_map(|b| &b.weights).map(|w| w.abs()).max()
    );
    let test = f32s("/tmp/test32.f32");
    let labels: Vec<i64> = bytemuck::pod_collect_to_vec(&std::fs::read("/tmp/test32.lab").unwrap());
    let sim = Simulator::new(p);
    let (mut ok, mut plain_ok, mut agree) = (0, 0, 0);
    let am = |v: &[f64]| (0..v.len()).max_by(|&a, &b| v[a].total_cmp(&v[b])).unwrap();
    for (i, x) in test.chunks(1024).enumerate() {
        let got = am(&sim.run(x, i as u64));
        let x: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
        let want = am(&net.evaluate(&x).1);
        ok += usize::from(got as i64 == labels[i]);
        plain_ok += usize::from(want as i64 == labels[i]);
        agree += usize::from(got == want);
    }
    println!("test: simulated {ok} plain {plain_ok} agree {agree} of {}", labels.len());
}
