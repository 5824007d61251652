//! The link that leads to the log. Runs on the writer's thread.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::super::between;
use super::{KnownWay, RealDir, type_of};
use crate::disk::random_part::random_part;

/// Makes a symbolic link lead to `target`.
pub(in crate::disk) fn point(link: &Path, target: &Path, random: u32, known: &mut KnownWay) -> io::Result<()> {
    let parent = link.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = link.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    // Within one directory by the name alone, so that it leads there wherever that directory is
    // mounted.
    let target = match target.file_name() {
        Some(name) if link.parent() == target.parent() => name,
        _ => target.as_os_str(),
    };
    let dir = RealDir::open(parent, known)?;
    *known = dir.known().clone();
    match dir.stat(name) {
        Ok(found) if type_of(&found) != FileType::Symlink => {
            let why = format!("`{}` is not a symbolic link", link.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        }
        Ok(_) if rustix::fs::readlinkat(dir.fd()?, name, Vec::new())?.as_bytes() == target.as_bytes() => return Ok(()),
        Ok(_) => {}
        Err(Errno::NOENT) => return Ok(rustix::fs::symlinkat(target, dir.fd()?, name)?),
        Err(error) => return Err(error.into()),
    }
    // In one step: nobody finds the link missing.
    let mut new = OsString::from(".");
    new.push(name);
    new.push(random_part(random));
    new.push(".new");
    between::steps();
    rustix::fs::symlinkat(target, dir.fd()?, &*new)?;
    between::steps();
    dir.or_remove(&new, rustix::fs::renameat(dir.fd()?, &*new, dir.fd()?, name).map_err(io::Error::from))
}
