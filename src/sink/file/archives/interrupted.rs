//! Next active files that interrupted rotations have left. Runs on the writer's thread.

use std::ffi::{OsStr, OsString};
use std::io;

use crate::disk::Dir;
use crate::sink::file::archive_name::Archive;

use super::{Archives, delete_name, is_missing};

/// The most names that are tried for one archive.
const MOST_NAMES: usize = 1000;

/// What is left of interrupted rotations.
#[derive(Debug, Default)]
pub(in crate::sink::file) struct Interrupted {
    /// Files with records that are nowhere else: a process was killed while it rotated.
    pub(in crate::sink::file) with_records: Vec<OsString>,
    /// A file whose records went into the active file, and that could not be removed.
    discarded: Option<OsString>,
    /// The archive's name that a failed rotation has given the active file, and that cannot be
    /// removed: the next rotation takes it.
    pub(in crate::sink::file) second_name: Option<Archive>,
}

impl Interrupted {
    /// Takes what a look through the directory has found.
    pub(super) fn take<D: Dir>(&mut self, dir: &mut D, log: &D::File, mut found: Vec<OsString>) {
        found.retain(|name| self.discarded.as_ref() != Some(name));
        self.with_records = found;
        let _ = self.remove_discarded(dir, log); // The next rotation tries it again.
    }

    /// Removes a next active file whose records are in the active one.
    pub(in crate::sink::file) fn discard<D: Dir>(&mut self, dir: &mut D, log: &D::File, name: OsString) {
        self.discarded = Some(name);
        let _ = self.remove_discarded(dir, log); // The next rotation tries it again.
    }

    /// Removes what could not be removed before. What somebody else has put in its place stays.
    pub(in crate::sink::file) fn remove_discarded<D: Dir>(&mut self, dir: &mut D, log: &D::File) -> io::Result<()> {
        let Some(name) = &self.discarded else { return Ok(()) };
        match delete_name(dir, name) {
            Err(error) if !is_missing(&error) && !matches!(dir.look(log, name), Ok(None)) => Err(error),
            _ => {
                self.discarded = None;
                Ok(())
            }
        }
    }
}

impl Archives {
    /// Gives a file that is no archive yet the first name from `archive` on that is free.
    pub(in crate::sink::file) fn adopt(
        &mut self,
        dir: &mut impl Dir,
        from: &OsStr,
        mut archive: Archive,
    ) -> io::Result<(Archive, OsString)> {
        for _ in 0..MOST_NAMES {
            let name = self.names.name(archive);
            self.newest = self.newest.max(Some(archive)); // It is not given again.
            match dir.rename_new(from, &name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && archive.next() != archive => {
                    archive = archive.next();
                }
                other => return other.map(|()| (archive, name)),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}
