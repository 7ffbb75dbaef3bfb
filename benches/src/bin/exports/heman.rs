//! Running the binary within bounds.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The binary, and what one command may take.
pub struct Heman {
    /// Where it is.
    pub binary: PathBuf,
    /// Time of one command.
    pub seconds: u64,
    /// Address space of one command.
    pub memory_gib: u64,
}

impl Heman {
    /// Runs one command in a folder with `--json`; gives what it printed, or the sentence that it refused with.
    pub fn json(&self, folder: &Path, args: &[&str]) -> Result<Value, String> {
        let fail = |error: std::io::Error| error.to_string();
        let (out, err) = (folder.join("stdout.txt"), folder.join("stderr.txt"));
        let kib = (self.memory_gib << 20).to_string();
        // The shell sets the bound and becomes the binary.
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -v \"$0\" && exec \"$@\"", &kib])
            .arg(&self.binary)
            .arg("--json")
            .args(args)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(File::create(&out).map_err(fail)?)
            .stderr(File::create(&err).map_err(fail)?)
            .spawn()
            .map_err(fail)?;
        let end = Instant::now() + Duration::from_secs(self.seconds);
        let status = loop {
            if let Some(status) = child.try_wait().map_err(fail)? {
                break status;
            }
            if Instant::now() > end {
                child.kill().map_err(fail)?;
                child.wait().map_err(fail)?;
                return Err(format!("took more than {} s", self.seconds));
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let text = std::fs::read(&out).map_err(fail)?;
        if status.success() {
            return serde_json::from_slice(&text).map_err(|error| format!("printed no JSON: {error}"));
        }
        let reason = std::fs::read(&err).map_err(fail)?;
        let reason = String::from_utf8_lossy(&reason);
        let lines: Vec<&str> = reason.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let refused = lines.iter().position(|line| line.starts_with("error: "));
        let sentence = refused.map(|at| lines[at..].join(" ").replacen("error: ", "", 1));
        Err(sentence.unwrap_or_else(|| format!("ended with {status}: {}", lines.last().unwrap_or(&"no message"))))
    }
}
