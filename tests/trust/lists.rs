//! Access control lists: a rotation gives nobody more than he had.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::io::Errno;

use crate::cases::rotating;
use crate::harness::{NOBODY, Outcome, PATIENCE, hostile, log, logger, names};
#[cfg(feature = "gzip")]
use crate::harness::{archive, wait_until};

/// The attributes in which a list stands: a file's own, and what a directory gives new files.
const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

/// A list for its owner, `nobody`, the owning group, and others, with the most that it gives: as in
/// `setfacl -m u:nobody:6,g::4,m::6`.
fn list(nobody: u16, group: u16, most: u16) -> Vec<u8> {
    const UNNAMED: u32 = u32::MAX;
    let entries =
        [(0x01, 6, UNNAMED), (0x02, nobody, NOBODY), (0x04, group, UNNAMED), (0x10, most, UNNAMED), (0x20, 0, UNNAMED)];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, bits, id) in entries {
        bytes.extend(u16::to_le_bytes(tag).into_iter().chain(bits.to_le_bytes()).chain(u32::to_le_bytes(id)));
    }
    bytes
}

/// Returns whether that is possible here.
fn set(path: &Path, name: &str, list: &[u8]) -> bool {
    match setxattr(path, name, list, XattrFlags::empty()) {
        Err(Errno::OPNOTSUPP) => false,
        other => other.is_ok(),
    }
}

fn list_of(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = [0; 1024];
    getxattr(path, ACCESS, &mut bytes[..]).ok().map(|len| bytes[..len].to_vec())
}

fn skipped() -> Outcome {
    Outcome::Skipped("the file system has no access control lists".into())
}

fn log_files(dir: &Path) -> Vec<PathBuf> {
    names(dir).iter().filter(|name| name.starts_with("app")).map(|name| dir.join(name)).collect()
}

/// The mode shows for the group what the list gives at most, and a new file gave that to the group.
pub(crate) fn after_a_rotation_the_group_may_do_no_more_than_its_list_says(dir: &Path) -> Outcome {
    let path = dir.join("app.log");
    fs::write(&path, "older\n").unwrap();
    if !set(&path, ACCESS, &list(6, 4, 6)) {
        return skipped();
    }
    let file = rotating(dir).max_files(4);
    #[cfg(feature = "gzip")]
    let file = file.compress(true);
    let (logger, handle) = logger(file);
    log(&logger, &handle, 90);
    #[cfg(feature = "gzip")]
    wait_until("one is compressed", || names(dir).iter().any(|name| name.starts_with("app") && name.ends_with(".gz")));
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    let files = log_files(dir);
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        assert_eq!(list_of(&file), Some(list(6, 4, 6)), "{file:?}");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o660, "{file:?}");
    }
    Outcome::holds()
}

/// The option says what the list gives at most.
pub(crate) fn a_mode_that_is_asked_for_narrows_a_list(dir: &Path) -> Outcome {
    let path = dir.join("app.log");
    fs::write(&path, "older\n").unwrap();
    if !set(&path, ACCESS, &list(6, 0, 6)) {
        return skipped();
    }
    let (logger, handle) = logger(rotating(dir).mode(0o640));
    log(&logger, &handle, 60);
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    assert_eq!(list_of(&path), Some(list(6, 0, 4)));
    Outcome::holds()
}

/// Whoever owns the directory says what it gives to new files, and has no part in the log.
pub(crate) fn a_list_of_the_directory_gives_nobody_what_the_log_does_not(dir: &Path) -> Outcome {
    let logs = hostile(dir);
    let path = logs.join("app.log");
    fs::write(&path, "older\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    if !set(&logs, DEFAULT, &list(6, 6, 6)) {
        return skipped();
    }
    let file = rotating(&logs).max_files(4);
    #[cfg(feature = "gzip")]
    let file = file.compress(true);
    let (logger, handle) = logger(file);
    log(&logger, &handle, 90);
    #[cfg(feature = "gzip")]
    wait_until("one is compressed", || log_files(&logs).iter().any(|path| path.to_str().unwrap().ends_with(".gz")));
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    for file in log_files(&logs) {
        assert_eq!((list_of(&file), fs::metadata(&file).unwrap().mode() & 0o7777), (None, 0o640), "{file:?}");
    }
    Outcome::holds()
}

/// Of a compressed archive: what both the archive and the log give.
#[cfg(feature = "gzip")]
pub(crate) fn an_archive_whose_list_is_not_the_logs_is_compressed_without_it(dir: &Path) -> Outcome {
    let path = dir.join("app.log");
    fs::write(&path, "older\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    for day in 1..=2 {
        fs::write(dir.join(archive(day)), "ours\n").unwrap();
        if !set(&dir.join(archive(day)), ACCESS, &list(6, 0, 6)) {
            return skipped();
        }
    }
    let (logger, handle) = logger(rotating(dir).compress(true));
    log(&logger, &handle, 60);
    let compressed = dir.join(format!("{}.gz", archive(1)));
    wait_until("it is compressed", || compressed.exists());
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    assert_eq!((list_of(&compressed), fs::metadata(&compressed).unwrap().mode() & 0o7777), (None, 0o600));
    Outcome::holds()
}
