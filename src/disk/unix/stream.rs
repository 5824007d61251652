//! Pipes, terminals, sockets and devices, and the streams that the process was started with. Runs
//! on the writer's thread.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::time::Duration;

use crate::os::Descriptor;

use crate::disk::{DiskStream, Stream};

/// A stream of the system.
#[derive(Debug)]
pub(crate) struct RealStream {
    file: Descriptor,
    way: Way,
    is_pipe: bool,
}

/// The way to write without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The description is ours alone, and never waits.
    Own,
    /// A socket that others share: each call says that it does not wait.
    Socket,
    /// A description that others share, and that may wait: looked at before each write.
    Shared,
}

impl RealStream {
    /// Takes a descriptor that was opened for this output, and never waits.
    pub(in crate::disk) fn own(file: File) -> Self {
        Self::new(Descriptor::new(file), Way::Own)
    }

    fn new(file: Descriptor, way: Way) -> Self {
        let is_pipe = file.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo());
        Self { file, way, is_pipe }
    }

    /// Takes a descriptor that others share.
    pub(in crate::disk) fn shared(file: File) -> Self {
        let is_socket = file.metadata().is_ok_and(|metadata| metadata.file_type().is_socket());
        Self::new(Descriptor::shared(file), if is_socket { Way::Socket } else { Way::Shared })
    }
}

/// Returns the number under which the process knows the stream.
pub(in crate::disk) fn number(stream: Stream) -> i32 {
    use std::os::fd::AsRawFd as _;

    match stream {
        Stream::Stderr => io::stderr().as_raw_fd(),
        Stream::Stdout => io::stdout().as_raw_fd(),
    }
}

/// Opens a terminal a second time, by its name: that description never waits, and the program's own
/// stays as it is.
pub(in crate::disk) fn open_terminal(stream: &impl std::os::fd::AsFd) -> io::Result<File> {
    super::dir::open_again(rustix::termios::ttyname(stream, Vec::new())?)
}

/// Returns a descriptor of our own for a stream of the process.
pub(in crate::disk) fn duplicate(stream: Stream) -> io::Result<File> {
    use std::os::fd::AsFd as _;

    let copied = match stream {
        Stream::Stderr => io::stderr().as_fd().try_clone_to_owned(),
        Stream::Stdout => io::stdout().as_fd().try_clone_to_owned(),
    };
    Ok(copied?.into())
}

impl DiskStream for RealStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_full = self.way == Way::Shared && !self.writable(Duration::ZERO);
        let file = self.file.ours()?;
        match self.way {
            _ if is_full => Err(io::ErrorKind::WouldBlock.into()),
            Way::Own | Way::Shared => Ok(rustix::io::write(file, bytes)?),
            Way::Socket => Ok(rustix::net::send(file, bytes, rustix::net::SendFlags::DONTWAIT)?),
        }
    }

    fn writable(&mut self, at_most: Duration) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};

        let timeout = Timespec::try_from(at_most).ok();
        // A number that is not ours any more, and an error of the poll itself, are left to the
        // write to find; with POLLERR and POLLHUP a write fails at once.
        let Ok(file) = self.file.ours() else { return true };
        poll(&mut [PollFd::new(file, PollFlags::OUT)], timeout.as_ref()).map_or(true, |ready| ready > 0)
    }

    /// A pipe has room again when the reader has taken a whole page, and this shows it before.
    fn unread(&mut self) -> Option<u64> {
        self.is_pipe.then(|| rustix::io::ioctl_fionread(&self.file).ok()).flatten()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test
mod tests {
    use super::*;

    /// Where there is no `/proc`, this is the only way to a terminal that does not wait.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_terminal_that_is_opened_by_its_name_never_waits_for_its_reader() {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

        let reader = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&reader).unwrap();
        unlockpt(&reader).unwrap();
        let name = ptsname(&reader, Vec::new()).unwrap();
        let terminal = File::options().write(true).open(name.to_str().unwrap()).unwrap();
        let mut stream = RealStream::own(open_terminal(&terminal).unwrap());
        let mut written = 0;
        let error = loop {
            match stream.write(&[b'x'; 1000]) {
                Ok(bytes) => written += bytes,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(written > 0);
    }

    /// A console whose pipe had been full stayed suspended for ever: nobody who reads from a pipe
    /// leaves room in it.
    #[test]
    fn a_number_that_the_program_uses_is_not_waited_for() {
        let (_reader, writer) = rustix::pipe::pipe().unwrap();
        let mut stream = RealStream::own(writer.into());
        let (programs, _writer) = rustix::pipe::pipe().unwrap();
        *stream.file = programs.into();
        assert!(stream.writable(Duration::from_secs(60)));
        assert_eq!(stream.write(b"x").unwrap_err().raw_os_error(), Some(rustix::io::Errno::BADF.raw_os_error()));
    }

    #[test]
    fn what_is_no_terminal_has_no_name() {
        let temporary = tempfile::tempfile().unwrap();
        assert!(open_terminal(&temporary).is_err());
    }
}
