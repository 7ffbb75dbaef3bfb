//! Arrays, and archives of them behind checksums that fit.

use std::io::{Cursor, Read, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::bytes;
use crate::random::Random;

/// Types that headers of mutated arrays name.
const TYPES: [&str; 12] = ["<f4", ">f8", "<f2", "|u1", "|i1", "<i8", ">u2", "|b1", "<c8", "<U4", "|S3", "|O"];
/// What archives call arrays.
const NAMES: [&str; 7] =
    ["labels.npy", "images.npy", "a/../b.npy", "", "__MACOSX/._0.npy", "x\u{1b}[2J\n.npy", "1.NPY"];
/// Largest archive that a mutation makes, in bytes unpacked.
const MOST_BYTES: usize = 1 << 20;

/// An array, its header as given.
fn array(descr: &str, is_fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if is_fortran { "True" } else { "False" };
    of_header(&format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n"), data)
}

fn of_header(text: &str, data: &[u8]) -> Vec<u8> {
    let length = (text.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], text.as_bytes(), data].concat()
}

fn archive(entries: &[(String, Vec<u8>)], method: CompressionMethod) -> Option<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, content) in entries {
        archive.start_file(name.as_str(), options).ok()?;
        archive.write_all(content).ok()?;
    }
    Some(archive.finish().ok()?.into_inner())
}

/// Sound files: arrays of several types and orders, and archives of them with labels of either kind.
///
/// # Panics
/// Never: memory takes everything.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let count: Vec<u8> = (0..96).collect();
    let (bytes, real) = (array("|u1", false, "(2, 3, 4)", &count[..24]), array("<f4", true, "(2, 3)", &count[..24]));
    let wide = array(">i8", false, "(12,)", &count);
    let texts: Vec<u8> = "ant\0bee\0".chars().flat_map(|letter| u32::from(letter).to_le_bytes()).collect();
    let npz = |labels: Vec<u8>, method| {
        let images = array("<f2", false, "(3, 4)", &count[..24]);
        let named = [("images", images), ("labels", labels), ("more", bytes.clone())];
        archive(&named.map(|(name, content)| (format!("{name}.npy"), content)), method)
            .expect("memory takes everything")
    };
    let stored = npz(array("<U4", false, "(2,)", &texts), CompressionMethod::Stored);
    let deflated = npz(array("|b1", false, "(2,)", &[0, 1]), CompressionMethod::Deflated);
    vec![bytes, real, wide, stored, deflated]
}

/// Changes a file: an array's header or data, an archive's entries, or its bytes whatever they mean.
pub fn mutate(file: &mut Vec<u8>, random: &mut Random) {
    let entries = if random.once_in(4) { None } else { unpacked(file) };
    match entries {
        Some(mut entries) => {
            change(&mut entries, random);
            let method = random.pick(&[CompressionMethod::Stored, CompressionMethod::Deflated]);
            if let Some(packed) = archive(&entries, method) {
                *file = packed;
            }
        }
        None if file.starts_with(b"PK") => bytes::mutate(file, random),
        None => change_array(file, random),
    }
}

fn unpacked(file: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut archive = ZipArchive::new(Cursor::new(file)).ok()?;
    let mut entries = Vec::new();
    for at in 0..archive.len().min(64) {
        let entry = archive.by_index(at).ok()?;
        let name = entry.name().to_string();
        let mut content = Vec::new();
        entry.take(MOST_BYTES as u64).read_to_end(&mut content).ok()?;
        entries.push((name, content));
    }
    Some(entries)
}

fn change(entries: &mut Vec<(String, Vec<u8>)>, random: &mut Random) {
    if entries.is_empty() {
        return entries.push(("0.npy".into(), seeds().swap_remove(0)));
    }
    let at = random.below(entries.len());
    match random.below(8) {
        0 => entries[at].0 = random.pick(&NAMES).into(),
        1 => drop(entries.remove(at)),
        2 => {
            let (name, content) = entries[at].clone();
            let copies = 1 << random.below(6);
            if content.len() * copies <= MOST_BYTES {
                entries.extend((0..copies).map(|copy| (format!("{copy}{name}"), content.clone())));
            }
        }
        // What unpacks to far more than it takes.
        3 => entries[at].1.resize(1 << random.below(21), 0),
        _ => change_array(&mut entries[at].1, random),
    }
}

/// Changes the text of a header, or any bytes.
fn change_array(file: &mut Vec<u8>, random: &mut Random) {
    let header = file.get(8..10).map(|length| usize::from(u16::from_le_bytes([length[0], length[1]])));
    let text =
        header.and_then(|length| file.get(10..10 + length)).map(|text| String::from_utf8_lossy(text).into_owned());
    let Some(text) = text.filter(|_| !random.once_in(3)) else { return bytes::mutate(file, random) };
    let (start, end) = text.split_once("'shape':").map_or(("", text.as_str()), |(start, end)| (start, end));
    let number = |random: &mut Random| random.integer().to_string();
    let changed = match random.below(6) {
        0 => format!("{{'descr': '{}', 'fortran_order': False, 'shape':{end}", random.pick(&TYPES)),
        1 => text.replacen("False", "True", 1),
        2 => format!("{start}'shape': ({},), }}\n", number(random)),
        3 => format!("{start}'shape': ({}, {}, 0, 1), }}\n", number(random), number(random)),
        4 => format!("{start}'shape': ({}), }}\n", "2, ".repeat(1 << random.below(9))),
        _ => {
            let mut text = text.into_bytes();
            bytes::mutate(&mut text, random);
            String::from_utf8_lossy(&text).into_owned()
        }
    };
    let data = file[10 + header.unwrap_or(0)..].to_vec();
    if changed.len() <= usize::from(u16::MAX) {
        *file = of_header(&changed, &data);
    }
}
