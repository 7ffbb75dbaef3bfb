//! `heman devices`: what could run an inference, and how fast it is.

use heman_core::device::Device;
use heman_core::device::cpu::CpuBackend;
use heman_core::progress::Progress;
use heman_cuda::CudaBackend;
use heman_engine::measure::Subject;
use heman_engine::{DeviceChoice, DeviceProfile, Profiles, Speed};
use serde_json::{Value, json};

use super::Output;
use crate::args;
use crate::error::{CliError, printable};
use crate::exit::Failure;
use crate::progress::Bar;
use crate::{profile, report, threads};

/// A line of the list.
struct Row {
    /// As the command line names it.
    device: String,
    /// What it is, for people.
    text: String,
    /// What machines are told.
    object: Value,
    /// Why it cannot be used, if it cannot.
    refused: Option<String>,
    /// What it is measured as, and whether it is measured without being named.
    subject: Option<(Subject, bool)>,
    profile: Option<DeviceProfile>,
}

/// Runs the verb.
pub fn run(out: &Output, args: &args::Devices) -> Result<(), CliError> {
    let measured = if args.measure { Some(measure(out, args)?) } else { None };
    let found = profile::check_named().map_err(|error| error.to_string());
    let found = found.and_then(|()| profile::read().map_err(|error| error.to_string()));
    let (profiles, error) = found.map_or_else(|error| (Profiles::default(), Some(error)), |found| (found, None));
    let rows = rows(args, &profiles)?;
    let mut text = String::new();
    for row in &rows {
        let Row { device, text: what, refused, profile, .. } = row;
        text += &match refused {
            Some(reason) => format!("{device:<8} {what}: {reason}\n"),
            None => format!("{device:<8} {what}; {}\n", describe(profile.as_ref())),
        };
    }
    if let Some(error) = &error {
        text += &format!("{error}; only shipped predictions are used\n");
    }
    let path = profile::path().map(|path| report::path(&path));
    if let (Some(measured), Some(path)) = (&measured, &path) {
        text += &format!("measured {} and wrote {path}\n", measured.join(", "));
    }
    let object = json!({
        "devices": rows.iter().map(object).collect::<Vec<_>>(),
        "profile": path,
        "profile_error": error,
        "measured": measured,
    });
    report::print_either(out.json, &object, &printable(&text))
}

fn object(row: &Row) -> Value {
    let speed = |speed: Option<Speed>| speed.map(|Speed { threads, rows }| json!({ "threads": threads, "rows": rows }));
    let source = match &row.profile {
        Some(profile) if profile.measured.is_some() => "measured",
        Some(_) => "predicted",
        None => "none",
    };
    let mut object = json!({
        "device": row.device,
        "usable": row.refused.is_none(),
        "reason": row.refused,
        "speed": source,
        "measured": row.profile.as_ref().and_then(|profile| profile.measured.clone()),
        "tfhe": row.profile.as_ref().and_then(|profile| speed(profile.tfhe)),
        "ckks": row.profile.as_ref().and_then(|profile| speed(profile.ckks)),
        "step_seconds": row.profile.as_ref().map(|profile| profile.step_seconds),
    });
    report::merge(&mut object, row.object.clone());
    object
}

/// How fast a device is, in threads of the cost model.
fn describe(profile: Option<&DeviceProfile>) -> String {
    let Some(profile) = profile else { return "speed not known: --measure tells it".into() };
    let speed = |scheme: &str, speed: Option<Speed>| match speed {
        Some(Speed { threads, rows }) => format!("{scheme} as {threads:.3} threads from {rows} side by side"),
        None => format!("no {scheme}"),
    };
    let source = profile.measured.as_ref().map_or("predicted".into(), |day| format!("measured {day}"));
    format!("{source}: {}, {}", speed("TFHE", profile.tfhe), speed("CKKS", profile.ckks))
}

/// Everything that there is.
fn rows(args: &args::Devices, profiles: &Profiles) -> Result<Vec<Row>, CliError> {
    let mut rows = vec![host(args, profiles)?];
    match heman_cuda::devices() {
        Ok(devices) => rows.extend(devices.iter().map(|device| cuda(device, profiles))),
        Err(error) => rows.push(none("cuda", error.to_string())),
    }
    let adapters = heman_wgpu::devices();
    if adapters.is_empty() {
        rows.push(none("wgpu", heman_wgpu::WgpuError::NoAdapter.to_string()));
    }
    rows.extend(adapters.iter().map(|adapter| wgpu(adapter, profiles)));
    Ok(rows)
}

fn none(device: &str, reason: String) -> Row {
    let (device, text) = (device.to_string(), "none".to_string());
    Row { device, text, object: json!({}), refused: Some(reason), subject: None, profile: None }
}

fn host(args: &args::Devices, profiles: &Profiles) -> Result<Row, CliError> {
    let backend = CpuBackend::new(threads::number(args.threads))?;
    Ok(Row {
        device: "cpu".into(),
        text: backend.name(),
        object: json!({ "name": backend.name() }),
        refused: None,
        subject: Some((Subject::CPU, true)),
        profile: Some(profiles.of_cpu(&backend)),
    })
}

fn cuda(device: &heman_cuda::CudaDevice, profiles: &Profiles) -> Row {
    let (major, minor) = device.compute_capability;
    let image = CudaBackend::open(device.index).and_then(|backend| backend.image());
    let (image, refused) = match image {
        Ok(image) => (Some(image), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let memory = report::bytes(device.memory_bytes);
    let kernels = image.as_ref().map_or(String::new(), |image| format!("; {image}"));
    Row {
        device: format!("cuda:{}", device.index),
        text: format!("{} (sm_{major}{minor}, {memory}){kernels}", device.name),
        object: json!({ "name": device.name, "memory_bytes": device.memory_bytes, "image": image }),
        refused,
        subject: Some((Subject::cuda(device.index), true)),
        profile: Some(profiles.of_cuda(device)),
    }
}

fn wgpu(device: &heman_wgpu::WgpuDevice, profiles: &Profiles) -> Row {
    let kind = if device.hardware { "hardware" } else { "software, used only if it is named" };
    Row {
        device: format!("wgpu:{}", device.index),
        text: format!("{} ({}, {kind})", device.name, device.interface),
        object: json!({ "name": device.name, "interface": device.interface, "hardware": device.hardware }),
        refused: device.refused.clone(),
        subject: Some((Subject::wgpu(device.index), device.hardware)),
        profile: profiles.of_wgpu(device),
    }
}

/// Measures devices and writes the profile; returns which they are.
fn measure(out: &Output, args: &args::Devices) -> Result<Vec<String>, CliError> {
    // What others measured stays; a file that cannot be read is not written over.
    let mut profiles = profile::read()?;
    let target = profile::claim()?;
    let bar = Bar::new(out.verbose);
    let named: Option<Vec<Subject>> = match args.device.as_ref() {
        None | Some(DeviceChoice::Auto) => None,
        Some(DeviceChoice::Cpu) => Some(vec![Subject::CPU]),
        Some(DeviceChoice::Cuda(indices)) => Some(indices.iter().map(|&index| Subject::cuda(index)).collect()),
        Some(DeviceChoice::Wgpu(index)) => Some(vec![Subject::wgpu(*index)]),
    };
    let subjects: Vec<Subject> = match &named {
        Some(named) => named.clone(),
        None => {
            let usable = rows(args, &profiles)?.into_iter().filter(|row| row.refused.is_none());
            usable.filter_map(|row| row.subject.filter(|&(_, by_itself)| by_itself)).map(|(s, _)| s).collect()
        }
    };
    let mut names = Vec::new();
    for subject in subjects {
        match subject.measure(threads::number(args.threads), &bar) {
            Ok(measured) => {
                let name = measured.profile.name.clone();
                measured.missing.iter().for_each(|reason| {
                    bar.note(&printable(&format!("{name}: {reason}")));
                });
                profiles.insert(measured.profile);
                names.push(name);
            }
            Err(error) if named.is_some() => return Err(error.into()),
            Err(error) => bar.note(&printable(&format!("not measured: {error}"))),
        }
    }
    if names.is_empty() {
        return Err(CliError::of(Failure::Device, "no device could be measured"));
    }
    profile::write(target, &profiles)?;
    Ok(names)
}
