//! The file that says how fast devices are.

use std::path::PathBuf;

use heman_core::progress::Progress;
use heman_engine::{DeviceChoice, ProfileError, Profiles};

use crate::error::{CliError, printable};
use crate::io::output::{Access, Target};

/// Names the file, for tests and for machines that share a home.
const VARIABLE: &str = "HEMAN_DEVICES";

/// Where the file lies; none where there is no home.
pub fn path() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable(VARIABLE).or_else(|| {
        let folder = variable("XDG_CONFIG_HOME").filter(|folder| folder.is_absolute());
        let folder = folder.or_else(|| variable("HOME").map(|home| home.join(".config")));
        folder.map(|folder| folder.join("heman").join("devices.json"))
    })
}

/// The measured devices.
pub fn read() -> Result<Profiles, ProfileError> {
    path().map_or_else(|| Ok(Profiles::default()), |path| Profiles::read(&path))
}

/// Checks that the file is there if the environment names one; elsewhere it need not be.
///
/// # Errors
/// A sentence with the file's name.
pub fn check_named() -> Result<(), CliError> {
    let named = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    match named {
        Some(path) if !path.exists() => Err(CliError::bad_file(format!(
            "{VARIABLE} names {}, which is not there; heman devices --measure makes it",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// What a choice of devices needs of them: nothing where the user has chosen. A file that is broken is left aside with
/// a note.
///
/// # Errors
/// As [`check_named`].
pub fn read_for(choice: &DeviceChoice, progress: &dyn Progress) -> Result<Profiles, CliError> {
    if *choice != DeviceChoice::Auto {
        return Ok(Profiles::default());
    }
    check_named()?;
    Ok(read().unwrap_or_else(|error| {
        progress.note(&printable(&format!("{error}; devices are chosen by shipped predictions")));
        Profiles::default()
    }))
}

/// Checks that the file can be written, before what it holds is measured; what is there stays as it is.
///
/// # Errors
/// A sentence where there is no home, or with the file's name.
pub fn claim() -> Result<Target, CliError> {
    let path =
        path().ok_or_else(|| CliError::new(format!("there is no home for the device profile; set {VARIABLE}")))?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| CliError::file(folder, error))?;
    }
    Target::claim(&path, Access::Everybody, &[])
}

/// Writes the file in the place of the one before.
///
/// # Errors
/// Those of the file system.
pub fn write(target: Target, profiles: &Profiles) -> Result<(), CliError> {
    let text = profiles.to_json();
    target.write_with(|out| out.write_all(text.as_bytes()).map(|()| text.len() as u64)).map(|_| ())
}
