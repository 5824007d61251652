//! A directory that is known by its path, where there are no directory descriptors. Runs on the
//! writer's thread.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::{Dir, Entry, Kind, PathState, RealFile};

/// A directory.
#[derive(Clone, Debug)]
pub(crate) struct RealDir(PathBuf);

/// What a way to a directory may do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Walk {
    Open,
    /// Also makes what is missing.
    Make,
}

impl RealDir {
    pub(super) fn open(path: &Path, walk: Walk) -> io::Result<Self> {
        if walk == Walk::Make {
            fs::create_dir_all(path)?;
        }
        Ok(Self(path.to_owned()))
    }

    /// Where the file at `path` really is, or would be.
    pub(super) fn locate(path: &Path, walk: Walk) -> io::Result<(Self, OsString)> {
        let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        let resolved = is_link.then(|| fs::canonicalize(path).ok()).flatten();
        let path = resolved.as_deref().unwrap_or(path);
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok((Self::open(parent, walk)?, name))
    }

    pub(super) fn open_log(&self, name: &OsStr, _mode: Option<u32>) -> io::Result<RealFile> {
        let open = |read| OpenOptions::new().append(true).read(read).create(true).open(self.0.join(name));
        let (file, readable) = match open(true) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => (open(false)?, false),
            other => (other?, true),
        };
        let kind = super::kind_of(&file)?;
        Ok(RealFile::new(file, kind, readable, Some((self.clone(), name.to_owned()))))
    }

    pub(super) fn create_next(&self, name: &OsStr, _old: &RealFile, _mode: Option<u32>) -> io::Result<RealFile> {
        let file = OpenOptions::new().append(true).read(true).create_new(true).open(self.0.join(name))?;
        Ok(RealFile::new(file, Kind::Regular, true, Some((self.clone(), name.to_owned()))))
    }

    /// An open file can only be compared by name: one that was replaced under our hands is not
    /// noticed.
    pub(super) fn check_path(&self, _name: &OsStr, _file: &RealFile, path: &Path) -> io::Result<PathState> {
        Ok(if path.exists() { PathState::Same } else { PathState::Moved })
    }

    #[cfg(feature = "gzip")]
    pub(super) fn open_ours(&self, name: &OsStr, _log: &fs::Metadata) -> io::Result<RealFile> {
        let file = File::open(self.0.join(name))?;
        Ok(RealFile::new(file, Kind::Regular, true, Some((self.clone(), name.to_owned()))))
    }

    #[cfg(feature = "gzip")]
    pub(super) fn create_private(&self, name: &OsStr) -> io::Result<RealFile> {
        let file = OpenOptions::new().append(true).create_new(true).open(self.0.join(name))?;
        Ok(RealFile::new(file, Kind::Regular, false, Some((self.clone(), name.to_owned()))))
    }

    #[cfg(feature = "gzip")]
    pub(super) fn exists(&self, name: &OsStr) -> bool {
        fs::symlink_metadata(self.0.join(name)).is_ok()
    }
}

#[cfg(feature = "gzip")]
impl RealFile {
    pub(super) fn be_readable_as(&self, source: &fs::Metadata, _log: &fs::Metadata) -> io::Result<()> {
        self.file.set_permissions(source.permissions())
    }
}

pub(super) fn id(_file: &File) -> Option<(u64, u64)> {
    None
}

pub(super) fn point(_link: &Path, _target: &Path, _random: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Dir for RealDir {
    type File = RealFile;

    fn path(&self) -> &Path {
        &self.0
    }

    fn link(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        fs::hard_link(self.0.join(from), self.0.join(to))
    }

    fn rename(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn rename_new(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        // Not in one step: only who comes between the look and the renaming is not seen.
        match fs::symlink_metadata(self.0.join(to)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.rename(from, to),
            Err(error) => Err(error),
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    fn remove(&mut self, name: &OsStr) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn list(&mut self, _log: &RealFile, wanted: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let name = entry.file_name();
            if !wanted(&name) {
                continue;
            }
            // Not followed. What is gone by now is not there.
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => {
                    entries.push(Entry { name, bytes: metadata.len(), modified: metadata.modified()?, id: None });
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn check_name(&mut self, name: &OsStr, _file: &RealFile) -> io::Result<PathState> {
        Ok(if self.0.join(name).exists() { PathState::Same } else { PathState::Moved })
    }
}
