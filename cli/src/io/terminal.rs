//! Questions on the terminal whose answers are not shown.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};

use zeroize::Zeroizing;

use super::line::read_line;

#[cfg(unix)]
mod echo {
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::sync::{Mutex, PoisonError};

    /// The terminal as it was, while it shows nothing.
    static BEFORE: Mutex<Option<(File, libc::termios)>> = Mutex::new(None);

    /// Lets the terminal show nothing until [`restore`].
    pub fn hide(terminal: &File) -> std::io::Result<()> {
        let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the terminal is open, and the settings are a live value that tcgetattr fills before it is used.
        unsafe {
            let mut settings = std::mem::zeroed::<libc::termios>();
            if libc::tcgetattr(terminal.as_raw_fd(), &raw mut settings) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            *before = Some((terminal.try_clone()?, settings));
            settings.c_lflag &= !libc::ECHO;
            settings.c_lflag |= libc::ECHONL;
            if libc::tcsetattr(terminal.as_raw_fd(), libc::TCSAFLUSH, &raw const settings) != 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    }

    /// Puts the terminal back as it was, if it shows nothing.
    pub fn restore() {
        let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((terminal, settings)) = before {
            // SAFETY: the terminal is open, and the settings are those that tcgetattr gave.
            unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &raw const settings) };
        }
    }
}

#[cfg(unix)]
pub use echo::restore;

/// Elsewhere nothing is hidden.
#[cfg(not(unix))]
pub fn restore() {}

/// Asks on the terminal of the process, wherever its standard streams lead, and does not show the answer.
///
/// # Errors
/// Where there is no terminal.
pub fn ask(question: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut terminal: File = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    #[cfg(unix)]
    echo::hide(&terminal)?;
    let answer = write!(terminal, "{question}").and_then(|()| read_line(&mut terminal));
    restore();
    answer
}
