//! How a verb ends, for shells and schedulers.

/// Why a verb failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// What none of the others is.
    Other,
    /// Arguments or variables that say nothing that can be done.
    Usage,
    /// What was understood and is not done.
    Refusal,
    /// A file that cannot be read, written or used.
    File,
    /// A device that is not there, failed, or is full.
    Device,
    /// A fault of the program itself.
    Internal,
}

impl Failure {
    /// The exit status.
    pub fn status(self) -> u8 {
        match self {
            Self::Other => 1,
            Self::Usage => 2,
            Self::Refusal => 3,
            Self::File => 4,
            Self::Device => 5,
            Self::Internal => 6,
        }
    }

    /// Its name for machines.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Usage => "usage",
            Self::Refusal => "refusal",
            Self::File => "file",
            Self::Device => "device",
            Self::Internal => "internal",
        }
    }
}

/// All exit statuses, and what each says.
pub const STATUSES: [(&str, &str); 8] = [
    ("0", "Done."),
    ("1", "Some items of a batch failed, and all others are done; or an error that is none of the following."),
    ("2", "Usage: the command line, or a variable of the environment, says nothing that can be done."),
    (
        "3",
        "Refusal: what was asked for is understood and is not done: a model that is not supported, a loss that is not \
         reached, values out of range, too little memory, a file that would be lost.",
    ),
    (
        "4",
        "A bad file: one that cannot be read or written, that is damaged or of another kind, or that does not belong to \
         the others.",
    ),
    ("5", "A device is not there, failed, or is out of memory."),
    ("6", "A fault of the program itself; please report it with what it says."),
    ("128 + N", "Interrupted by signal N: 130 by SIGINT, 143 by SIGTERM, 129 by SIGHUP."),
];
