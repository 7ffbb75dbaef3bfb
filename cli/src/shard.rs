//! A share of a job that several processes do, each for itself.

use std::fmt;
use std::str::FromStr;

/// One of `count` shares, counted from 0: the index that Kubernetes' indexed jobs and Slurm's arrays give a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which share, below `count`.
    pub index: u32,
    /// Number of shares.
    pub count: u32,
}

impl Shard {
    /// Whether an item with this digest of its name belongs to the share. Each belongs to exactly one, whatever other
    /// items there are.
    pub fn holds(self, digest: u128) -> bool {
        digest % u128::from(self.count) == u128::from(self.index)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match numbers {
            Some((index, count)) if index < count => Ok(Self { index, count }),
            _ => Err("expected i/n with i from 0 to n - 1, like 0/4".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_counted_from_zero() {
        assert_eq!("3/4".parse(), Ok(Shard { index: 3, count: 4 }));
        assert_eq!(Shard { index: 3, count: 4 }.to_string(), "3/4");
        for bad in ["4/4", "0/0", "-1/4", "1", "1/", "a/b", ""] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }

    #[test]
    fn each_digest_belongs_to_one_shard() {
        for digest in [0, 1, u128::MAX, 0x1234_5678_9abc_def0_1234] {
            assert_eq!((0..7).filter(|&index| Shard { index, count: 7 }.holds(digest)).count(), 1);
        }
    }
}
