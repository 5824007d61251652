//! A descriptor that the log keeps open. A daemon may close every number that it does not know, and
//! what the program opens next gets the same numbers. So whoever uses or closes such a descriptor
//! first looks whether it still leads to what was opened. On any thread.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, IntoRawFd, OwnedFd};

use super::fork::CloseInChild;
use super::identity::{flags_of, identity_of, is_closed, is_regular};

/// An open file, directory or socket. A forked child closes it.
#[derive(Debug)]
pub(crate) struct Descriptor<F: AsFd + IntoRawFd = File> {
    in_child: ManuallyDrop<CloseInChild>,
    file: ManuallyDrop<F>,
    /// Where the file may get another number although it stays open: how it was opened.
    flags: Option<i32>,
}

impl<F: AsFd + IntoRawFd> Descriptor<F> {
    pub(crate) fn new(file: F) -> Self {
        let fd = file.as_fd().as_raw_fd();
        let flags = flags_of(fd).filter(|flags| flags & libc::O_NONBLOCK != 0 && is_regular(fd));
        Self { in_child: ManuallyDrop::new(CloseInChild::new(fd)), file: ManuallyDrop::new(file), flags }
    }

    /// Returns true if the number still leads to what was opened. Where nobody can know, it does.
    pub(crate) fn is_ours(&self) -> bool {
        let fd = self.file.as_fd().as_raw_fd();
        let Some(was) = self.in_child.identity else { return !is_closed(fd) };
        match identity_of(fd) {
            Ok(is) if is == was => true,
            // On some file systems a file has another number for each of its names. Nobody else
            // opens regular files so that they do not wait.
            Ok(is) => is.device == was.device && self.flags.is_some() && self.flags == flags_of(fd) && is_regular(fd),
            Err(error) => error.raw_os_error() != Some(libc::EBADF),
        }
    }

    /// Returns the open file, to be changed.
    ///
    /// # Errors
    ///
    /// `EBADF` if the program has closed the number, or uses it for something else.
    pub(crate) fn ours(&self) -> io::Result<&F> {
        if self.is_ours() { Ok(&self.file) } else { Err(io::Error::from_raw_os_error(libc::EBADF)) }
    }
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

impl From<OwnedFd> for Descriptor<File> {
    fn from(fd: OwnedFd) -> Self {
        Self::new(fd.into())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::os::fd::FromRawFd as _;

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
        drop(descriptor);
        assert_eq!(identity_of(number).unwrap(), identity_of(other.as_raw_fd()).unwrap(), "it is still open");
        // SAFETY: nobody else has the number.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
    }
}
