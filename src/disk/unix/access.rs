//! The owner and the permissions of a file: its owner, its mode, and its access control list where
//! it has one (POSIX lists, on Linux). Runs on the writer's thread and on the one that compresses.
//!
//! Of a file with a list, the bits that the mode shows for the group are the most that the list
//! gives to anybody but the owner. To copy them as a mode would give them to the owning group.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{Gid, Mode, Stat, Uid, fchmod, fchown, fstat};

use crate::disk::FileId;

#[cfg(target_os = "linux")]
use list::List;
#[cfg(not(target_os = "linux"))]
use no_list::List;

/// The owner and the permissions of a file.
#[derive(Clone, Debug)]
pub(in crate::disk) struct Access {
    pub(super) user: u32,
    pub(super) group: u32,
    /// The group's bits are those of the owning group itself. Set-id bits are left out.
    pub(super) mode: u32,
    list: Option<List>,
}

impl Access {
    pub(in crate::disk) fn of(file: impl AsFd) -> io::Result<Self> {
        let stat = fstat(&file)?;
        let list = List::of(&file)?;
        let mut mode = stat.st_mode as u32 & 0o777;
        if let Some(list) = &list {
            mode = mode & 0o707 | list.of_the_group() << 3;
        }
        Ok(Self { user: stat.st_uid, group: stat.st_gid, mode, list })
    }

    /// Takes the right to execute away from everybody.
    pub(super) fn without_execute(mut self) -> Self {
        self.mode &= 0o666;
        self.list = self.list.map(List::without_execute);
        self
    }

    /// Takes away what `other` does not give. Of two lists that differ nothing is left.
    #[cfg(feature = "gzip")]
    pub(super) fn no_more_than(mut self, other: &Self) -> Self {
        self.mode &= other.mode;
        self.list = self.list.filter(|list| Some(list) == other.list.as_ref());
        self
    }

    /// Gives all of it to a new file, as far as we may; `mode` replaces the mode. Returns why the
    /// file could not be given away. If the file could not be given to the group, the group's
    /// rights and the whole list are left out.
    pub(super) fn give_to(&self, file: impl AsFd, mode: Option<u32>) -> io::Result<Option<io::Error>> {
        // The group first: it may be given by the owner alone. The user last, for the same reason.
        let not_given = give_group(&file, self.group).err();
        let mut new_mode = mode.unwrap_or(self.mode);
        let list = self.list.as_ref().filter(|_| not_given.is_none());
        let has_list = list.is_some_and(|list| list.give_to(&file).is_ok());
        // A list may also have come from the directory: the file before had none.
        if not_given.is_some() || !has_list && !List::remove_from(&file) {
            new_mode &= !0o070;
        }
        if !has_list || mode.is_some() {
            be_of_mode(&file, new_mode)?;
        }
        Ok(give_user(&file, self.user).err().or(not_given))
    }
}

/// Gives a file that follows no other one its user and group, as far as we may, and its mode, if
/// one is asked for. A list that the directory has given it stays, with no more than that mode.
pub(super) fn give_first(
    file: impl AsFd,
    (user, group): (Option<u32>, Option<u32>),
    mode: Option<u32>,
) -> io::Result<Option<io::Error>> {
    let not_given = group.and_then(|group| give_group(&file, group).err());
    let is = fstat(&file)?.st_mode as u32 & 0o777;
    let has_list = List::of(&file)?.is_some();
    let mut new_mode = mode.filter(|_| !has_list).unwrap_or(is);
    if not_given.is_some() {
        new_mode &= !0o070;
    }
    be_of_mode(&file, new_mode)?;
    Ok(user.and_then(|user| give_user(&file, user).err()).or(not_given))
}

/// Distinguishes files, whatever they are called.
pub(in crate::disk) fn id_of(stat: &Stat) -> FileId {
    // The types differ from system to system.
    #[allow(clippy::unnecessary_cast)]
    (stat.st_dev as u64, u128::from(stat.st_ino as u64))
}

fn give_group(file: impl AsFd, group: u32) -> io::Result<()> {
    if fstat(&file)?.st_gid != group {
        fchown(file, None, Some(Gid::from_raw(group)))?;
    }
    Ok(())
}

fn give_user(file: impl AsFd, user: u32) -> io::Result<()> {
    if fstat(&file)?.st_uid != user {
        fchown(file, Some(Uid::from_raw(user)), None)?;
    }
    Ok(())
}

fn be_of_mode(file: impl AsFd, mode: u32) -> io::Result<()> {
    if fstat(&file)?.st_mode as u32 & 0o7777 != mode {
        fchmod(file, Mode::from_raw_mode(mode as _))?;
    }
    Ok(())
}

#[cfg(target_os = "linux")]
mod list {
    use std::ffi::CStr;
    use std::io;
    use std::os::fd::AsFd;

    use rustix::fs::{XattrFlags, fgetxattr, fremovexattr, fsetxattr};
    use rustix::io::Errno;

    /// Under this name the kernel shows and takes a list; its form is in
    /// `linux/posix_acl_xattr.h`.
    const NAME: &CStr = c"system.posix_acl_access";
    const HEADER_LEN: usize = 4;
    const ENTRY_LEN: usize = 8;
    const OWNING_GROUP: u16 = 0x04;
    const MASK: u16 = 0x10;
    /// The most that an extended attribute holds.
    const MOST_BYTES: usize = 64 << 10;

    /// An access control list, as the kernel shows it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct List(Vec<u8>);

    impl List {
        /// Returns `None` for a file without a list, or where there are none.
        pub(super) fn of(file: impl AsFd) -> io::Result<Option<Self>> {
            let mut bytes = vec![0; 1 << 10];
            let len = match fgetxattr(&file, NAME, &mut bytes[..]) {
                Err(Errno::RANGE) => {
                    bytes.resize(MOST_BYTES, 0);
                    fgetxattr(&file, NAME, &mut bytes[..])
                }
                other => other,
            };
            match len {
                Ok(len) => {
                    bytes.truncate(len);
                    Ok(Some(Self(bytes)))
                }
                Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
                Err(error) => Err(error.into()),
            }
        }

        /// Returns each entry's tag, and the place of its three bits.
        fn entries(&self) -> impl Iterator<Item = (u16, usize)> + '_ {
            let starts = (HEADER_LEN..self.0.len()).step_by(ENTRY_LEN);
            starts.filter_map(|at| Some((u16::from_le_bytes([*self.0.get(at)?, *self.0.get(at + 1)?]), at + 2)))
        }

        /// Returns what the owning group itself may do.
        pub(super) fn of_the_group(&self) -> u32 {
            let bits = |of| self.entries().find(|(tag, _)| *tag == of).and_then(|(_, at)| self.0.get(at).copied());
            u32::from(bits(OWNING_GROUP).unwrap_or(0) & bits(MASK).unwrap_or(0o7) & 0o7)
        }

        pub(super) fn without_execute(mut self) -> Self {
            let places: Vec<_> = self.entries().map(|(_, at)| at).collect();
            for at in places {
                self.0.get_mut(at).into_iter().for_each(|bits| *bits &= 0o6);
            }
            self
        }

        pub(super) fn give_to(&self, file: impl AsFd) -> io::Result<()> {
            Ok(fsetxattr(file, NAME, &self.0, XattrFlags::empty())?)
        }

        /// Returns true if the file has no list then.
        pub(super) fn remove_from(file: impl AsFd) -> bool {
            matches!(fremovexattr(file, NAME), Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS))
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod no_list {
    use std::io;
    use std::os::fd::AsFd;

    /// Lists of other systems are not known here.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) enum List {}

    impl List {
        pub(super) fn of(_file: impl AsFd) -> io::Result<Option<Self>> {
            Ok(None)
        }

        pub(super) fn of_the_group(&self) -> u32 {
            match *self {}
        }

        pub(super) fn without_execute(self) -> Self {
            match self {}
        }

        pub(super) fn give_to(&self, _file: impl AsFd) -> io::Result<()> {
            match *self {}
        }

        pub(super) fn remove_from(_file: impl AsFd) -> bool {
            true
        }
    }
}
