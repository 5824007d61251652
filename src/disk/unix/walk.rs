//! The walk to a directory, component by component, as systemd does it with `CHASE_SAFE`: from a
//! component of an ordinary user the way never leads on to one of somebody else's. Nor does it
//! lead, the next time, into another directory that somebody else could have put there. Runs on
//! the writer's thread.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

use super::access::id_of;
use super::between;
use crate::disk::FileId;

/// A path with more symbolic links than this leads nowhere.
pub(super) const MOST_LINKS: usize = 40;
/// Where directories can be opened without the right to read them.
#[cfg(target_os = "linux")]
const SEARCH: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const SEARCH: OFlags = OFlags::RDONLY;

/// The user by whom Linux shows all those that a user namespace does not know.
const UNKNOWN_USER: u32 = 65_534;
/// A way remembers this many directories.
const MOST_KNOWN: usize = 64;

/// What is known of the way to a directory, for the next time it is walked.
#[derive(Clone, Debug, Default)]
pub(in crate::disk) struct KnownWay {
    /// It was walked before. The first time, what is there is what was meant.
    pub(super) again: bool,
    /// The directories that somebody else could have put there. Later, only these are entered so,
    /// and empty ones, in which there is nothing to harm.
    dirs: Vec<FileId>,
}

impl KnownWay {
    /// Remembers the directories of another walk, too.
    pub(in crate::disk) fn add(&mut self, other: &Self) {
        other.dirs.iter().for_each(|dir| self.add_dir(*dir));
    }

    fn add_dir(&mut self, dir: FileId) {
        if !self.dirs.contains(&dir) {
            self.dirs.push(dir);
        }
        if self.dirs.len() > MOST_KNOWN {
            self.dirs.remove(0);
        }
    }
}

/// A walk through a path: the directory that it has come to.
pub(super) struct Walker {
    pub(super) at: OwnedFd,
    pub(super) known: KnownWay,
    from: From,
    trusted: Trusted,
    /// What is missing is made.
    makes: bool,
    /// A link was followed that others could have put there, so all that comes after it is in
    /// doubt.
    in_doubt: bool,
    /// A link of an ordinary user was followed.
    followed_untrusted: bool,
}

/// What the next step starts from: a directory, or a link in it.
struct From {
    /// `None`: it cannot be known.
    owner: Option<u32>,
    is_trusted: bool,
    is_link: bool,
    /// Others can rename what is in it.
    is_shared: bool,
    /// Others can make names in it.
    is_open: bool,
}

/// Who may lead us anywhere: we ourselves, and root. In a user namespace root may have another
/// number: the owner of `/`.
#[derive(Clone, Copy)]
pub(super) struct Trusted {
    us: u32,
    root: u32,
}

impl Trusted {
    pub(super) fn new() -> io::Result<Self> {
        let root = statat(CWD, c"/", AtFlags::empty())?.st_uid;
        Ok(Self { us: rustix::process::geteuid().as_raw(), root })
    }

    /// Returns whether what belongs to `uid` is ours or root's. `is_open`: others can make names
    /// where it stands; then a user of whom nothing is known may be anybody.
    fn contains(self, uid: u32, is_open: bool) -> bool {
        uid == 0 || uid == self.us || uid == self.root && !(is_open && uid == UNKNOWN_USER)
    }

    /// Returns the user, if it can be distinguished from others.
    fn known(self, uid: u32) -> Option<u32> {
        (uid != self.root || uid != UNKNOWN_USER || uid == self.us).then_some(uid)
    }

    /// Returns whether others can make names in a directory.
    pub(super) fn is_open(self, dir: &Stat) -> bool {
        !self.contains(dir.st_uid, false) || others_may_write(dir)
    }

    /// Returns whether a link may lead us anywhere. A second name of one may have been made by
    /// anybody.
    pub(super) fn trusts_link(self, link: &Stat, dir: &Stat) -> bool {
        let is_open = self.is_open(dir);
        self.contains(link.st_uid, is_open) && !(is_open && link.st_nlink > 1)
    }
}

fn others_may_write(dir: &Stat) -> bool {
    Mode::from_raw_mode(dir.st_mode).intersects(Mode::WGRP | Mode::WOTH)
}

pub(super) fn untrusted(path: &Path) -> io::Error {
    let text = format!("an untrusted path: `{}` leads from a component of one user to one of another", path.display());
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

/// Reads a symbolic link, and looks at the same one.
pub(super) fn read_link(dir: impl AsFd, name: &OsStr) -> io::Result<(Stat, PathBuf)> {
    between::steps();
    #[cfg(target_os = "linux")]
    let (found, target) = {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let link = openat(&dir, name, flags, Mode::empty())?;
        between::steps();
        // Of something else, an empty name is none.
        (fstat(&link)?, rustix::fs::readlinkat(&link, c"", Vec::new())?)
    };
    #[cfg(not(target_os = "linux"))]
    let (found, target) = {
        let look = || statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW);
        let (before, target) = (look()?, rustix::fs::readlinkat(&dir, name, Vec::new())?);
        let after = look()?;
        if (before.st_dev, before.st_ino, before.st_ctime) != (after.st_dev, after.st_ino, after.st_ctime) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        (after, target)
    };
    Ok((found, PathBuf::from(OsStr::from_bytes(target.as_bytes()))))
}

impl Walker {
    pub(super) fn new(path: &Path, known: &KnownWay, makes: bool) -> io::Result<Self> {
        let trusted = Trusted::new()?;
        let from = if path.is_absolute() { c"/" } else { c"." };
        let at = openat(CWD, from, SEARCH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let from = Self::from(trusted, &fstat(&at)?, !path.is_absolute());
        let known = known.clone();
        Ok(Self { at, known, from, trusted, makes, in_doubt: false, followed_untrusted: false })
    }

    /// A directory that is in one in which others can make names, or not.
    fn from(trusted: Trusted, dir: &Stat, stands_in_open: bool) -> From {
        let is_sticky = Mode::from_raw_mode(dir.st_mode).contains(Mode::SVTX);
        let is_trusted = trusted.contains(dir.st_uid, stands_in_open);
        From {
            owner: if is_trusted { Some(dir.st_uid) } else { trusted.known(dir.st_uid) },
            is_trusted,
            is_link: false,
            is_shared: others_may_write(dir) && !is_sticky,
            is_open: trusted.is_open(dir),
        }
    }

    /// Goes through `path`, links included.
    pub(super) fn go(&mut self, path: &Path) -> io::Result<()> {
        let mut ahead: Vec<OsString> = components(path);
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if name == "/" {
                let root = openat(CWD, c"/", SEARCH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
                self.enter(root, false, path)?;
                continue;
            }
            between::steps();
            let found = match statat(&self.at, &*name, AtFlags::SYMLINK_NOFOLLOW) {
                // Nothing is made where a link of an ordinary user leads, either.
                Err(Errno::NOENT) if self.makes && self.followed_untrusted => return Err(untrusted(path)),
                Err(Errno::NOENT) if self.makes => {
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
                between::steps();
                let next = openat(&self.at, &*name, flags, Mode::empty())?;
                self.enter(next, self.from.is_open, path)?;
                continue;
            }
            links += 1;
            if links > MOST_LINKS {
                return Err(Errno::LOOP.into());
            }
            let target = self.follow(&name, path)?;
            ahead.extend(components(&target));
        }
        Ok(())
    }

    /// Follows a link: the next step is the link's.
    fn follow(&mut self, name: &OsStr, path: &Path) -> io::Result<PathBuf> {
        let (link, target) = read_link(&self.at, name)?;
        let is_trusted = self.trusted.trusts_link(&link, &fstat(&self.at)?);
        // Of a second name it cannot be known whose it is.
        let owner = if is_trusted || link.st_nlink == 1 { self.trusted.known(link.st_uid) } else { None };
        let is_same = self.from.owner.is_some() && self.from.owner == owner;
        if !self.from.is_trusted && !is_same {
            return Err(untrusted(path));
        }
        self.in_doubt |= self.from.is_shared;
        self.followed_untrusted |= !is_trusted;
        self.from = From { owner, is_trusted, is_link: true, ..self.from };
        Ok(target)
    }

    fn enter(&mut self, next: OwnedFd, stands_in_open: bool, path: &Path) -> io::Result<()> {
        let stat = fstat(&next)?;
        let to = Self::from(self.trusted, &stat, stands_in_open);
        let is_safe = self.from.is_trusted || self.from.owner.is_some() && self.from.owner == to.owner;
        if !is_safe || self.from.is_shared || self.in_doubt {
            let is_made_by_us = !self.from.is_link && !self.followed_untrusted && stat.st_uid == self.trusted.us;
            let dir = id_of(&stat);
            let is_known = || !self.known.again || self.known.dirs.contains(&dir) || is_empty(&next);
            if !((is_safe || is_made_by_us) && is_known()) {
                return Err(untrusted(path));
            }
            self.known.add_dir(dir);
        }
        (self.at, self.from) = (next, to);
        Ok(())
    }
}

/// Returns whether a directory is known to be empty.
fn is_empty(dir: &OwnedFd) -> bool {
    let look = || {
        let fd = openat(dir, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for entry in rustix::fs::Dir::new(fd)? {
            if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
                return Ok(false);
            }
        }
        Ok::<_, Errno>(true)
    };
    look().unwrap_or(false)
}

/// Returns the components of a path, the last one first.
fn components(path: &Path) -> Vec<OsString> {
    let names = path.components().filter(|component| !matches!(component, Component::CurDir));
    let mut names: Vec<_> = names.map(|component| component.as_os_str().to_owned()).collect();
    names.reverse();
    names
}
