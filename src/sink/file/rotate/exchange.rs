//! The exchange of the active file for the next one: two names change, and after an error both are
//! as before. Runs on the writer's thread.

use std::ffi::{OsStr, OsString};
use std::io;

use crate::disk::{Dir, DiskFile, PathState};
use crate::sink::file::archive_name::Archive;
use crate::sink::file::archives::Archives;
use crate::sink::file::open_file::OpenFile;

use super::not_at_path;

/// The most names that are tried for an archive: more than one second has.
const MOST_NAMES: usize = 20_000;

/// The two files of an exchange, and the directory of their names.
pub(super) struct Exchange<'a, D, F> {
    pub(super) archives: &'a mut Archives,
    pub(super) dir: &'a mut D,
    /// The active file, which becomes an archive.
    pub(super) old: &'a OpenFile<F>,
    /// The next active file.
    pub(super) new: &'a OpenFile<F>,
    /// The name of the next active file until then.
    pub(super) unfinished: &'a OsStr,
}

/// How the old file got the archive's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aside {
    /// It has the active name, too.
    Linked,
    /// It has no other.
    Renamed,
}

impl<D: Dir<File = F>, F: DiskFile> Exchange<'_, D, F> {
    /// Gives the old file the name of `archive` or of one after it, and the new one the active
    /// name. Returns the archive and its name. After an error all is as it was, as far as that can
    /// be seen.
    pub(super) fn make(mut self, mut archive: Archive) -> io::Result<(Archive, OsString)> {
        for _ in 0..MOST_NAMES {
            let name = self.archives.names.name(archive);
            // Whatever is reported, and whoever deletes the file: the name is not given again.
            self.archives.newest = self.archives.newest.max(Some(archive));
            match self.set_aside(&name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && archive.next() != archive => {
                    archive = archive.next();
                }
                Err(error) => return Err(error),
                Ok(by) => {
                    let result = self.take_over(&name, by);
                    if result.is_err() {
                        self.undo(&name, by);
                    }
                    return result.map(|()| (archive, name));
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Gives the old file the archive's name: as a second name, or where that is not possible,
    /// instead of the active one, which is then absent for a moment.
    fn set_aside(&mut self, archive: &OsStr) -> io::Result<Aside> {
        if self.archives.links_unrecognised {
            return self.rename_aside(archive);
        }
        match self.dir.link(self.archives.names.active(), archive) {
            Ok(()) => {}
            // A network file system may have done it and say that it has not.
            Err(_) if self.is_old_at(archive) => return Ok(Aside::Linked),
            Err(error) if has_no_links(&error) => match self.rename_aside(archive) {
                // The name was free before the link, so the link may have been made, whatever was
                // reported. If the next names were tried, the file would get each of them.
                Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => {
                    self.archives.links_unrecognised = true;
                    return Err(error);
                }
                renamed => return renamed,
            },
            Err(error) => return Err(error),
        }
        // A file system in user space may make up another inode number for each name. The second
        // name is given back only if the first one is seen to be there still.
        let is_other = self.dir.check_name(archive, &self.old.file).is_ok_and(|state| state == PathState::Moved);
        if !is_other || !self.is_old_active() {
            return Ok(Aside::Linked);
        }
        self.archives.links_unrecognised = true;
        self.dir.remove(archive)?;
        self.rename_aside(archive)
    }

    /// Gives the old file the archive's name instead of the active one.
    fn rename_aside(&mut self, archive: &OsStr) -> io::Result<Aside> {
        match self.dir.rename_new(self.archives.names.active(), archive) {
            // A network file system may have done it and say that it has not.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists && self.is_old_at(archive) => Ok(Aside::Renamed),
            other => other.map(|()| Aside::Renamed),
        }
    }

    /// Gives the new file the active name.
    fn take_over(&mut self, archive: &OsStr, by: Aside) -> io::Result<()> {
        // Another process may have put another file at the active path since it was checked: that
        // one is not ours to replace.
        if self.dir.check_name(archive, &self.old.file)? != PathState::Same {
            return Err(not_at_path());
        }
        let active = self.archives.names.active();
        let renamed = match by {
            Aside::Linked => self.dir.rename(self.unfinished, active),
            Aside::Renamed => self.dir.rename_new(self.unfinished, active),
        };
        match renamed {
            // A network file system may have done it and say that it has not.
            Err(error) => match self.dir.check_name(active, &self.new.file) {
                Ok(PathState::Same) => Ok(()),
                _ => Err(error),
            },
            Ok(()) => Ok(()),
        }
    }

    /// Takes the archive's name back, only if it is seen that this is not the last name of the
    /// file: what was reported as failed may have been done. Whatever is left is seen at the next
    /// look: an archive that is the active file loses that name, a file that lost its active name
    /// is left.
    fn undo(&mut self, archive: &OsStr, by: Aside) {
        if !self.is_old_at(archive) {
            return;
        }
        if by == Aside::Renamed {
            let _ = self.dir.rename_new(archive, self.archives.names.active()); // Replaces nothing.
        } else if self.is_old_active() {
            let _ = self.dir.remove(archive);
        }
    }

    /// Returns whether it is seen that this name leads to the old file.
    fn is_old_at(&mut self, name: &OsStr) -> bool {
        self.dir.check_name(name, &self.old.file).is_ok_and(|state| state == PathState::Same)
    }

    /// Returns whether it is seen that the active name leads to the old file.
    fn is_old_active(&mut self) -> bool {
        let state = self.dir.check_name(self.archives.names.active(), &self.old.file);
        state.is_ok_and(|state| state == PathState::Same)
    }
}

/// Returns whether there are no hard links here, or not for us.
fn has_no_links(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported | io::ErrorKind::TooManyLinks)
}
