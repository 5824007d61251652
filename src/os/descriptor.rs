//! A descriptor that the log keeps open. A daemon may close every number that it does not know, and
//! what the program opens next gets the same numbers. So whoever uses or closes such a descriptor
//! first looks whether it still leads to what was opened. On any thread.

use std::fs::{File, Metadata};
use std::io;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, IntoRawFd};
use std::os::unix::fs::MetadataExt as _;

use super::fork::CloseInChild;
use super::identity::{Found, find};

/// An open file, directory or socket. A forked child closes it.
#[derive(Debug)]
pub(crate) struct Descriptor<F: AsFd + IntoRawFd = File> {
    in_child: ManuallyDrop<CloseInChild>,
    file: ManuallyDrop<F>,
}

impl<F: AsFd + IntoRawFd> Descriptor<F> {
    /// Takes what was opened for the log alone.
    pub(crate) fn new(file: F) -> Self {
        Self::of(file, false)
    }

    /// Takes a copy of a descriptor of the program.
    pub(crate) fn shared(file: F) -> Self {
        Self::of(file, true)
    }

    fn of(file: F, shared: bool) -> Self {
        let in_child = CloseInChild::new(file.as_fd().as_raw_fd(), shared);
        Self { in_child: ManuallyDrop::new(in_child), file: ManuallyDrop::new(file) }
    }

    /// Returns true if the number still leads to what was opened. Where nobody can know, it does.
    fn is_ours(&self) -> bool {
        let fd = self.file.as_fd().as_raw_fd();
        self.in_child.is_still_at(fd, || find(fd))
    }

    /// Returns the open file, to be changed.
    ///
    /// # Errors
    ///
    /// `EBADF` if the program has closed the number, or uses it for something else.
    pub(crate) fn ours(&self) -> io::Result<&F> {
        if self.is_ours() { Ok(&self.file) } else { Err(lost()) }
    }
}

impl Descriptor<File> {
    /// Returns the metadata of the open file, which also say whether it is still ours.
    ///
    /// # Errors
    ///
    /// As those of [`ours`](Self::ours).
    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        let metadata = self.file.metadata()?;
        let found = Found { device: metadata.dev(), number: metadata.ino(), is_regular: metadata.is_file() };
        if self.in_child.is_still_at(self.file.as_raw_fd(), || Ok(found)) { Ok(metadata) } else { Err(lost()) }
    }
}

fn lost() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
}

impl<F: AsFd + IntoRawFd> Drop for Descriptor<F> {
    fn drop(&mut self) {
        let is_ours = self.is_ours();
        // Before the number is closed: from then on it may be another's.
        // SAFETY: both are taken here alone, and nobody uses `self` any more.
        let file = unsafe {
            ManuallyDrop::drop(&mut self.in_child);
            ManuallyDrop::take(&mut self.file)
        };
        if is_ours {
            drop(file);
        } else {
            // Closed by the program, and perhaps its own by now. std aborts a debug build that
            // closes a number twice.
            let _ = file.into_raw_fd();
        }
    }
}

impl<F: AsFd + IntoRawFd> Deref for Descriptor<F> {
    type Target = F;

    fn deref(&self) -> &F {
        &self.file
    }
}

impl<F: AsFd + IntoRawFd> DerefMut for Descriptor<F> {
    fn deref_mut(&mut self) -> &mut F {
        &mut self.file
    }
}

impl<F: AsFd + IntoRawFd> AsFd for Descriptor<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::os::fd::{FromRawFd as _, OwnedFd};

    use super::super::identity::{identity_of, is_closed};
    use super::*;

    /// Puts another file at the number of `descriptor`.
    fn replace(descriptor: &Descriptor, by: &File) {
        // SAFETY: both numbers are open, and the test owns them.
        assert!(unsafe { libc::dup2(by.as_raw_fd(), descriptor.as_raw_fd()) } >= 0);
    }

    #[test]
    fn a_number_that_the_program_uses_for_another_file_is_neither_used_nor_closed() {
        let descriptor = Descriptor::new(tempfile::tempfile().unwrap());
        let number = descriptor.as_raw_fd();
        assert!(descriptor.is_ours());
        let other = tempfile::tempfile().unwrap();
        replace(&descriptor, &other);
        assert!(!descriptor.is_ours());
        assert_eq!(descriptor.ours().unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert_eq!(descriptor.metadata().unwrap_err().raw_os_error(), Some(libc::EBADF));
        drop(descriptor);
        let is = identity_of(other.as_raw_fd(), true).unwrap();
        assert!(is.is_at(number, &find(number).unwrap()), "it is still open");
        // SAFETY: nobody else has the number.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
    }

    /// The log was written through the program's descriptor, at its place, and closed it.
    #[test]
    fn a_number_that_the_program_uses_for_the_same_file_is_neither_used_nor_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        let descriptor = Descriptor::new(File::options().create(true).append(true).open(&path).unwrap());
        let number = descriptor.as_raw_fd();
        for other in [File::open(&path), File::options().write(true).open(&path)] {
            replace(&descriptor, &other.unwrap());
            assert!(!descriptor.is_ours());
        }
        drop(descriptor);
        assert!(!is_closed(number));
        // SAFETY: nobody else has the number.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
    }

    /// A file system in user space may give a file another inode number with its next name. A
    /// forked child goes by the same rule.
    #[test]
    fn a_log_that_has_another_inode_number_by_now_is_still_ours() {
        use std::os::unix::fs::OpenOptionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let mut options = File::options();
        let log = options.create(true).append(true).custom_flags(libc::O_NONBLOCK).open(dir.path().join("a")).unwrap();
        let mut was = identity_of(log.as_raw_fd(), false).unwrap();
        was.number += 1;
        let is_at = |file: &File| was.is_at(file.as_raw_fd(), &find(file.as_raw_fd()).unwrap());
        assert!(is_at(&log));
        let waits = File::options().append(true).open(dir.path().join("a")).unwrap();
        assert!(!is_at(&waits));
    }

    /// The program may change the flags of a description that it shares.
    #[test]
    fn a_copy_of_a_descriptor_is_known_by_its_file_alone() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let descriptor = Descriptor::shared(one.try_clone().unwrap());
        one.set_nonblocking(true).unwrap();
        assert!(descriptor.is_ours());
    }

    /// A daemon that closes all descriptors has two logs opened again: the second one got the
    /// number of the first.
    #[test]
    fn a_number_that_another_log_has_got_is_that_logs() {
        let dir = tempfile::tempdir().unwrap();
        let log = |name: &str| {
            use std::os::unix::fs::OpenOptionsExt as _;
            let mut options = File::options();
            options.create(true).append(true).custom_flags(libc::O_NONBLOCK).open(dir.path().join(name)).unwrap()
        };
        let first = Descriptor::new(log("a.log"));
        let number = first.as_raw_fd();
        replace(&first, &log("b.log"));
        // SAFETY: nobody else has the number: what was opened first does not use it any more.
        let second = Descriptor::new(unsafe { File::from_raw_fd(number) });
        assert!(second.is_ours() && !first.is_ours());
        drop(first);
        assert!(second.is_ours(), "it is still open");
    }
}
