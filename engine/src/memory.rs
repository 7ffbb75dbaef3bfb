//! How much memory this process may still take: what the host has to spare, and what its control groups leave it.
//!
//! Containers and schedulers limit memory by control groups, which `/proc/meminfo` knows nothing of. A group's limit
//! holds for all groups below it, so every group from the process's own up to the root counts.
//!
//! Source: the Linux kernel's `Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/memory.rst`, `proc(5)`.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Bytes of memory that this process may still take; `None` where the system does not tell.
#[must_use]
pub fn available_bytes() -> Option<u64> {
    available_under(Path::new("/"))
}

/// The same with another root than that of the file system.
fn available_under(root: &Path) -> Option<u64> {
    let host = read_to_string(root.join("proc/meminfo")).ok().and_then(|text| meminfo_bytes(&text, "MemAvailable:"));
    let groups = groups(root).into_iter().filter_map(|group| group.left_bytes());
    host.into_iter().chain(groups).min()
}

fn meminfo_bytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// A control group's folder.
struct Group {
    folder: PathBuf,
    is_version_2: bool,
}

impl Group {
    /// What its limits leave: the least of them, less what is held and cannot be given back.
    fn left_bytes(&self) -> Option<u64> {
        let number = |name: &str| read_to_string(self.folder.join(name)).ok()?.trim().parse::<u64>().ok();
        let (limits, used): (&[&str], _) = if self.is_version_2 {
            (&["memory.max", "memory.high"], "memory.current")
        } else {
            (&["memory.limit_in_bytes"], "memory.usage_in_bytes")
        };
        let limit = limits.iter().filter_map(|name| number(name)).min()?;
        let stat = read_to_string(self.folder.join("memory.stat")).unwrap_or_default();
        let names: &[&str] = if self.is_version_2 {
            &["inactive_file ", "active_file "]
        } else {
            &["total_inactive_file ", "total_active_file "]
        };
        let count = |name: &&str| stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        // File pages are given back when memory is short.
        let cached: u64 = names.iter().filter_map(count).sum();
        Some(limit.saturating_sub(number(used).unwrap_or(0).saturating_sub(cached)))
    }
}

/// All groups that the process belongs to, each with those above it as far as they can be seen.
fn groups(root: &Path) -> Vec<Group> {
    let memberships = read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mounts = read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default();
    let mut groups = Vec::new();
    for line in memberships.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let is_version_2 = controllers.is_empty();
        if !is_version_2 && !controllers.split(',').any(|controller| controller == "memory") {
            continue;
        }
        let Some(mount) = mounts.lines().filter_map(Mount::parse).find(|mount| mount.is_version_2 == is_version_2)
        else {
            continue;
        };
        // Inside a container the mount shows a part of the hierarchy, and the path may be one of the host's.
        let shown = Path::new(path).strip_prefix(&mount.shows).or_else(|_| Path::new(path).strip_prefix("/"));
        let base = root.join(mount.at.strip_prefix("/").unwrap_or(&mount.at));
        let own = shown.map(|shown| base.join(shown)).ok().filter(|own| own.is_dir()).unwrap_or_else(|| base.clone());
        let up = own.ancestors().take_while(|folder| folder.starts_with(&base));
        groups.extend(up.map(|folder| Group { folder: folder.to_path_buf(), is_version_2 }));
    }
    groups
}

/// A hierarchy of control groups in the file system.
struct Mount {
    at: PathBuf,
    /// The group that is shown there.
    shows: PathBuf,
    is_version_2: bool,
}

impl Mount {
    /// Of a line of `mountinfo`; none for other file systems.
    fn parse(line: &str) -> Option<Self> {
        let (own, rest) = line.split_once(" - ")?;
        let mut fields = own.split(' ');
        let (shows, at) = (fields.nth(3)?, fields.next()?);
        let mut rest = rest.split(' ');
        let (kind, options) = (rest.next()?, rest.nth(1).unwrap_or_default());
        let is_version_2 = kind == "cgroup2";
        let is_memory = kind == "cgroup" && options.split(',').any(|option| option == "memory");
        (is_version_2 || is_memory).then(|| Self { at: at.into(), shows: shows.into(), is_version_2 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       16777216 kB\nMemFree:         1000000 kB\nMemAvailable:    8388608 kB\n";
    const UNIFIED: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    const GIB: u64 = 1 << 30;

    /// A file system with these files.
    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
            std::fs::write(path, text).expect("writable");
        }
        root
    }

    fn available(files: &[(&str, &str)]) -> Option<u64> {
        available_under(system(files).path())
    }

    #[test]
    fn without_groups_the_host_counts() {
        assert_eq!(available(&[("proc/meminfo", MEMINFO)]), Some(8 * GIB));
        assert_eq!(available(&[]), None);
    }

    #[test]
    fn the_least_limit_of_nested_groups_counts() {
        let files = [
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "0::/a/b\n"),
            ("proc/self/mountinfo", UNIFIED),
            ("sys/fs/cgroup/a/memory.max", "2147483648\n"),
            ("sys/fs/cgroup/a/b/memory.max", "4294967296\n"),
            ("sys/fs/cgroup/a/b/memory.high", "max\n"),
        ];
        assert_eq!(available(&files), Some(2 * GIB));
        let high = [&files[..], &[("sys/fs/cgroup/a/b/memory.high", "1073741824\n")]].concat();
        assert_eq!(available(&high), Some(GIB));
        let none = [&files[..3], &[("sys/fs/cgroup/a/b/memory.max", "max\n")]].concat();
        assert_eq!(available(&none), Some(8 * GIB));
    }

    #[test]
    fn what_is_held_is_taken_off_but_for_file_pages() {
        let files = [
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", UNIFIED),
            ("sys/fs/cgroup/memory.max", "4294967296\n"),
            ("sys/fs/cgroup/memory.current", "3221225472\n"),
            ("sys/fs/cgroup/memory.stat", "anon 5\ninactive_file 1073741824\nactive_file 1073741824\n"),
        ];
        assert_eq!(available(&files), Some(3 * GIB));
    }

    #[test]
    fn version_1_counts_also_where_the_path_is_the_hosts() {
        let mount = "40 30 0:30 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let files = [
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/docker/abc\n"),
            ("proc/self/mountinfo", mount),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n"),
        ];
        assert_eq!(available(&files), Some(GIB / 2));
        // Version 1 writes no limit as the largest number of pages.
        let unlimited = [&files[..3], &[("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")]];
        assert_eq!(available(&unlimited.concat()), Some(8 * GIB));
    }

    #[test]
    fn absurd_files_limit_nothing() {
        let files = [
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "x\n0::../../..\n:::\n"),
            ("proc/self/mountinfo", "1 2\n - cgroup2\n30 23 0:26 / /sys/fs/cgroup rw - cgroup2\n"),
            ("sys/fs/cgroup/memory.max", "much\n"),
        ];
        assert_eq!(available(&files), Some(8 * GIB));
    }
}
