//! The walk to a directory, component by component, as systemd does it with `CHASE_SAFE`: from a
//! component of an ordinary user the way never leads on to one of somebody else's. Runs on the
//! writer's thread.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

/// A path with more symbolic links than this leads nowhere.
pub(super) const MOST_LINKS: usize = 40;
/// Where directories can be opened without the right to read them.
#[cfg(target_os = "linux")]
const SEARCH: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const SEARCH: OFlags = OFlags::RDONLY;

/// How the way to a directory may be walked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::disk) enum Walk {
    /// Also enters a directory of our own that stands in another user's: it was made there by us.
    Open,
    /// The same, and makes what is missing.
    Make,
    /// Nothing but safe steps: there is a directory already that would be left.
    Follow,
}

/// A walk through a path: the directory that it has come to.
pub(super) struct Walker {
    pub(super) at: OwnedFd,
    stat: Stat,
    trusted: Trusted,
    walk: Walk,
}

/// Who may lead us anywhere: we ourselves, and root. In a user namespace root may have another
/// number: the owner of `/`.
#[derive(Clone, Copy)]
pub(super) struct Trusted {
    us: u32,
    root: u32,
}

impl Trusted {
    pub(super) fn new(root: &Stat) -> Self {
        Self { us: rustix::process::geteuid().as_raw(), root: root.st_uid }
    }

    pub(super) fn contains(self, uid: u32) -> bool {
        uid == 0 || uid == self.us || uid == self.root
    }
}

pub(super) fn untrusted(path: &Path) -> io::Error {
    let text = format!("an untrusted path: `{}` leads from a component of one user to one of another", path.display());
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

impl Walker {
    pub(super) fn new(path: &Path, walk: Walk) -> io::Result<Self> {
        let root = openat(CWD, c"/", SEARCH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let stat = fstat(&root)?;
        let trusted = Trusted::new(&stat);
        let (at, stat) = if path.is_absolute() {
            (root, stat)
        } else {
            let here = openat(CWD, c".", SEARCH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            let stat = fstat(&here)?;
            (here, stat)
        };
        Ok(Self { at, stat, trusted, walk })
    }

    /// Goes through `path`, links included.
    pub(super) fn go(&mut self, path: &Path) -> io::Result<()> {
        let mut ahead: Vec<OsString> = components(path);
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if name == "/" {
                let root = openat(CWD, c"/", SEARCH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
                self.enter(root, path)?;
                continue;
            }
            let found = match statat(&self.at, &*name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) if self.walk == Walk::Make => {
                    match rustix::fs::mkdirat(&self.at, &*name, Mode::from(0o777)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    statat(&self.at, &*name, AtFlags::SYMLINK_NOFOLLOW)?
                }
                other => other?,
            };
            if FileType::from_raw_mode(found.st_mode) != FileType::Symlink {
                let flags = SEARCH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let next = openat(&self.at, &*name, flags, Mode::empty())?;
                self.enter(next, path)?;
                continue;
            }
            links += 1;
            if links > MOST_LINKS {
                return Err(Errno::LOOP.into());
            }
            let from = self.stat.st_uid;
            if !self.trusted.contains(from) && from != found.st_uid {
                return Err(untrusted(path));
            }
            self.stat = found; // The next step is the link's.
            let target = rustix::fs::readlinkat(&self.at, &*name, Vec::new())?;
            ahead.extend(components(Path::new(OsStr::from_bytes(target.as_bytes()))));
        }
        Ok(())
    }

    fn enter(&mut self, next: OwnedFd, path: &Path) -> io::Result<()> {
        let stat = fstat(&next)?;
        let from = self.stat.st_uid;
        let is_link = FileType::from_raw_mode(self.stat.st_mode) == FileType::Symlink;
        let is_made_by_us = self.walk != Walk::Follow && !is_link && stat.st_uid == self.trusted.us;
        if !self.trusted.contains(from) && from != stat.st_uid && !is_made_by_us {
            return Err(untrusted(path));
        }
        (self.at, self.stat) = (next, stat);
        Ok(())
    }
}

/// The components of a path, the last one first.
fn components(path: &Path) -> Vec<OsString> {
    let names = path.components().filter(|component| !matches!(component, Component::CurDir));
    let mut names: Vec<_> = names.map(|component| component.as_os_str().to_owned()).collect();
    names.reverse();
    names
}
