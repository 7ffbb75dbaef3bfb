//! Arrays come in the order that their names say, as the numbers they hold, and nothing is taken by accident.

mod common;

use std::io::Write;

use common::{Work, npy, npy_of, npy_values};

/// An image whose pixels are all alike: its result tells it from others.
fn image(at: usize) -> Vec<u8> {
    npy("(1, 8, 8)", &[at as f32 / 16.0; 64])
}

fn archive(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        zip.start_file(name.as_str(), zip::write::SimpleFileOptions::default()).expect("in memory");
        zip.write_all(bytes).expect("in memory");
    }
    zip.finish().expect("in memory").into_inner()
}

/// The decrypted results of an input, 10 an image.
fn results(work: &Work, input: &str) -> Vec<Vec<f32>> {
    work.ok(&["encrypt", "-k", "key", "-i", input, "-o", "in.enc"]);
    work.ok(&["inference", "-m", "params.plan", "-k", "key.pub", "-i", "in.enc", "-o", "out.enc"]);
    work.ok(&["decrypt", "-k", "key", "-i", "out.enc", "-o", "out.npy"]);
    npy_values(&work.read("out.npy")).chunks(10).map(<[f32]>::to_vec).collect()
}

/// Twelve images in one array, and the results that belong to them.
fn twelve() -> (Work, Vec<Vec<f32>>) {
    let work = Work::with_keys("ckks");
    let values: Vec<f32> = (0..12).flat_map(|at| [at as f32 / 16.0; 64]).collect();
    work.write("batch.npy", &npy("(12, 1, 8, 8)", &values));
    let wanted = results(&work, "batch.npy");
    assert_eq!(wanted.len(), 12);
    (work, wanted)
}

/// Results of one image under two encryptions differ by noise, those of different images by much more.
fn assert_same(found: &[Vec<f32>], wanted: &[Vec<f32>], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let error = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(error < 0.3, "{what}: result {at} is {error} away from its own");
    }
}

#[test]
fn numbered_arrays_come_in_the_order_of_their_numbers() {
    let (work, wanted) = twelve();
    let named = |name: fn(usize) -> String| -> Vec<(String, Vec<u8>)> {
        // As a folder or an archiver lists them: by their letters.
        let mut all: Vec<_> = (0..12).map(|at| (name(at), image(at))).collect();
        all.sort();
        all
    };
    work.write("input.npz", &archive(&named(|at| format!("arr_{at}.npy"))));
    assert_same(&results(&work, "input.npz"), &wanted, "npz");
    work.write("input.zip", &archive(&named(|at| format!("calib/{at}.NPY"))));
    assert_same(&results(&work, "input.zip"), &wanted, "zip");
    std::fs::create_dir(work.path("folder")).expect("a folder");
    for (name, bytes) in named(|at| format!("{at}.npy")) {
        work.write(&format!("folder/{name}"), &bytes);
    }
    assert_same(&results(&work, "folder"), &wanted, "folder");
}

#[test]
fn arrays_without_numbers_stay_in_the_archives_order() {
    let (work, wanted) = twelve();
    let entries = [("zebra.npy".into(), image(2)), ("ape.npy".into(), image(5))];
    work.write("animals.zip", &archive(&entries));
    assert_same(&results(&work, "animals.zip"), &[wanted[2].clone(), wanted[5].clone()], "zip");
    let output = work.run(&["encrypt", "-k", "key", "-i", "animals.zip", "-o", "x"]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("2 arrays are taken as one batch, in this order: zebra, ape"), "{stderr}");
}

#[test]
fn what_systems_leave_behind_is_passed_over() {
    let (work, wanted) = twelve();
    let junk = b"\x00\x05\x16\x07Mac OS X".to_vec();
    let entries = [
        ("calib/".into(), Vec::new()),
        ("calib/0.npy".into(), image(3)),
        ("__MACOSX/calib/._0.npy".into(), junk.clone()),
        ("calib/.hidden.npy".into(), junk.clone()),
        ("calib/.DS_Store".into(), junk.clone()),
    ];
    work.write("mac.zip", &archive(&entries));
    assert_same(&results(&work, "mac.zip"), &wanted[3..4], "zip");
    std::fs::create_dir(work.path("folder")).expect("a folder");
    work.write("folder/0.npy", &image(3));
    work.write("folder/._0.npy", &junk);
    work.write("folder/.DS_Store", &junk);
    assert_same(&results(&work, "folder"), &wanted[3..4], "folder");
}

#[test]
fn arrays_of_different_names_are_no_batch() {
    let (work, wanted) = twelve();
    let entries = |more: Vec<u8>| [("x.npy".to_string(), image(4)), ("y.npy".to_string(), more)];
    work.write("two.npz", &archive(&entries(image(5))));
    for args in [
        &["encrypt", "-k", "key", "-i", "two.npz", "-o", "x"][..],
        &["keyparams", "-m", "digits.onnx", "-c", "two.npz", "-o", "x.json"],
    ] {
        let message = work.fails(args);
        assert!(message.contains("different names (x, y), of which more than one fits"), "{message}");
    }
    // Where one alone fits the input it is taken, and that is said.
    work.write("one.npz", &archive(&entries(npy("(1,)", &[7.0]))));
    assert_same(&results(&work, "one.npz"), &wanted[4..5], "one");
    let output = work.run(&["encrypt", "-k", "key", "-i", "one.npz", "-o", "x"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("x is taken"), "{output:?}");
    work.write(
        "none.npz",
        &archive(&[("a.npy".into(), npy("(1,)", &[7.0])), ("b.npy".into(), npy("(2,)", &[7.0; 2]))]),
    );
    assert!(work.fails(&["encrypt", "-k", "key", "-i", "none.npz", "-o", "x"]).contains("none fits"));
}

#[test]
fn elements_of_every_kind_are_read_as_their_numbers() {
    let (work, _) = twelve();
    // Zeros and ones in a pattern that a transpose would change.
    let pixels: Vec<u8> = (0..64).map(|at| u8::from(at % 8 > at / 8)).collect();
    let as_f32: Vec<f32> = pixels.iter().map(|&pixel| f32::from(pixel)).collect();
    work.write("plain.npy", &npy("(1, 8, 8)", &as_f32));
    let wanted = results(&work, "plain.npy");
    let spread = |encode: &dyn Fn(u8) -> Vec<u8>| pixels.iter().flat_map(|&pixel| encode(pixel)).collect::<Vec<u8>>();
    let half = |pixel: u8| if pixel == 1 { 0x3c00_u16 } else { 0 };
    let files = [
        ("|b1", spread(&|pixel| vec![pixel])),
        ("|u1", spread(&|pixel| vec![pixel])),
        ("<i8", spread(&|pixel| i64::from(pixel).to_le_bytes().to_vec())),
        (">i4", spread(&|pixel| i32::from(pixel).to_be_bytes().to_vec())),
        ("<f2", spread(&|pixel| half(pixel).to_le_bytes().to_vec())),
        (">f2", spread(&|pixel| half(pixel).to_be_bytes().to_vec())),
        ("<f8", spread(&|pixel| f64::from(pixel).to_le_bytes().to_vec())),
        (">f4", spread(&|pixel| f32::from(pixel).to_be_bytes().to_vec())),
    ];
    for (descr, data) in files {
        work.write("typed.npy", &npy_of(descr, "False", "(1, 8, 8)", &data));
        assert_same(&results(&work, "typed.npy"), &wanted, descr);
    }
    let columns: Vec<u8> = (0..64).map(|at| pixels[at % 8 * 8 + at / 8]).collect();
    work.write("fortran.npy", &npy_of("|u1", "True", "(1, 8, 8)", &columns));
    assert_same(&results(&work, "fortran.npy"), &wanted, "Fortran order");
    for (descr, width) in [("<c8", 8), ("<U4", 16), ("|O", 8), ("<M8[s]", 8), ("|V3", 3)] {
        work.write("bad.npy", &npy_of(descr, "False", "(1, 8, 8)", &vec![0; 64 * width]));
        let message = work.fails(&["encrypt", "-k", "key", "-i", "bad.npy", "-o", "x"]);
        assert!(message.contains(descr) && message.contains("real numbers are needed"), "{message}");
    }
}

#[test]
fn archives_and_headers_that_lie_end_in_a_sentence() {
    let (work, _) = twelve();
    let encrypt = |file: &str| work.fails(&["encrypt", "-k", "key", "-i", file, "-o", "x"]);
    for (shape, why) in [
        ("(-1, 8, 8)", "an axis of length -1"),
        ("(99999999999, 1, 8, 8)", "promises"),
        ("(18446744073709551615, 18446744073709551615)", "promises"),
        ("(1, 8, 8", "shape"),
    ] {
        work.write("lie.npy", &npy(shape, &[0.5; 64]));
        let message = encrypt("lie.npy");
        assert!(message.contains(why), "{shape}: {message}");
    }
    // Eighty mebibytes of zeros in eighty kibibytes.
    let zeros = npy_of("|u1", "False", "(1310720, 1, 8, 8)", &[]);
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("arr_0.npy", zip::write::SimpleFileOptions::default()).expect("in memory");
    zip.write_all(&zeros).expect("in memory");
    let block = vec![0; 1 << 24];
    for _ in 0..5 {
        zip.write_all(&block).expect("in memory");
    }
    work.write("bomb.npz", &zip.finish().expect("in memory").into_inner());
    let message = encrypt("bomb.npz");
    assert!(message.contains("unpacks to 83886080 is not read"), "{message}");
    work.write("cut.npz", &work.read("bomb.npz")[..5000]);
    assert!(encrypt("cut.npz").contains("not a sound archive"));
}

/// Images that are named by number stay with their labels.
#[test]
fn images_and_labels_stay_paired() {
    let work = Work::new();
    let images = common::demo_images(&work);
    std::fs::create_dir(work.path("data")).expect("a folder");
    for (at, image) in images.chunks(64).take(12).enumerate() {
        work.write(&format!("data/{at}.npy"), &npy("(1, 8, 8)", image));
    }
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(work.read("samples.npz"))).expect("an archive");
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut archive.by_name("labels.npy").expect("labels"), &mut bytes).expect("readable");
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let each = (bytes.len() - header) / 48;
    let descr = String::from_utf8_lossy(&bytes[10..header]).into_owned();
    let descr = descr.split('\'').nth(3).expect("a type").to_string();
    work.write("data/labels.npy", &npy_of(&descr, "False", "(12,)", &bytes[header..header + 12 * each]));
    let evaluate = ["evaluate", "-m", "digits.onnx", "-c", "calibration.npz", "-d", "data", "--simulate", "--json"];
    let report: serde_json::Value = serde_json::from_str(&work.ok(&evaluate)).expect("JSON");
    assert_eq!((&report["inputs"], &report["plain_accuracy"]), (&12.into(), &1.0.into()));
}
