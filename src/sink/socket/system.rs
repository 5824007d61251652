//! The sockets of the system. Runs on the writer's thread.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType};

use crate::os::Descriptor;

use super::{Connection, Destination, Framing};

/// A look at the other side reads at most this many pieces of what it has sent.
const MOST_PIECES: usize = 16;
const PIECE: usize = 4096;

/// A connection that the system has made.
pub(crate) struct SystemConnection {
    fd: Descriptor<OwnedFd>,
    framing: Framing,
    is_established: bool,
}

impl Connection for SystemConnection {
    fn connect(to: &Destination, place: usize) -> io::Result<Self> {
        let address = |addresses: &[SocketAddr]| addresses.get(place).copied().ok_or(io::ErrorKind::NotFound);
        match to {
            Destination::Unix(path) => {
                let address = SocketAddrUnix::new(path.as_path())?;
                let datagrams = socket(AddressFamily::UNIX, SocketType::DGRAM)?;
                match net::connect(&datagrams, &address) {
                    Ok(()) => Ok(Self::of(datagrams, Framing::None)),
                    Err(rustix::io::Errno::PROTOTYPE) => {
                        let stream = socket(AddressFamily::UNIX, SocketType::STREAM)?;
                        net::connect(&stream, &address)?;
                        Ok(Self::of(stream, Framing::Newline))
                    }
                    Err(error) => Err(error.into()),
                }
            }
            Destination::Udp(addresses) => {
                let address = address(addresses)?;
                let datagrams = socket(family(&address), SocketType::DGRAM)?;
                net::connect(&datagrams, &address)?;
                Ok(Self::of(datagrams, Framing::None))
            }
            Destination::Tcp(addresses) => {
                let address = address(addresses)?;
                let stream = socket(family(&address), SocketType::STREAM)?;
                match net::connect(&stream, &address) {
                    Ok(()) => {
                        refuse_itself(&stream)?;
                        Ok(Self::of(stream, Framing::OctetCount))
                    }
                    Err(rustix::io::Errno::INPROGRESS) => {
                        Ok(Self { is_established: false, ..Self::of(stream, Framing::OctetCount) })
                    }
                    Err(error) => Err(error.into()),
                }
            }
        }
    }

    fn framing(&self) -> Framing {
        self.framing
    }

    fn establish(&mut self) -> io::Result<()> {
        if self.is_established {
            return Ok(());
        }
        let fd = self.fd.ours()?;
        if poll(&mut [PollFd::new(fd, PollFlags::OUT)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // Takes the error out of the socket.
        net::sockopt::socket_error(fd)??;
        refuse_itself(fd)?;
        self.is_established = true;
        Ok(())
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        // macOS has no such flag; the writer's thread blocks SIGPIPE anyway.
        #[cfg(target_vendor = "apple")]
        let flags = SendFlags::DONTWAIT;
        #[cfg(not(target_vendor = "apple"))]
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let fd = self.fd.ours()?;
        match rustix::io::retry_on_intr(|| net::send(fd, bytes, flags)) {
            // A full queue of a network device, which empties by itself.
            Err(rustix::io::Errno::NOBUFS) => Err(io::ErrorKind::WouldBlock.into()),
            result => Ok(result?),
        }
    }

    fn hear(&self) -> io::Result<()> {
        let fd = self.fd.ours()?;
        let mut piece = [0; PIECE];
        for _ in 0..MOST_PIECES {
            match rustix::io::retry_on_intr(|| net::recv(fd, &mut piece[..], RecvFlags::DONTWAIT)) {
                // An empty datagram is no end.
                Ok((0, _)) if self.framing != Framing::None => {
                    // After an orderly end it says whether what came later was refused.
                    net::sockopt::socket_error(fd)??;
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(_) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn wait(&self, at_most: Duration) -> bool {
        let timeout = Timespec::try_from(at_most).ok();
        // What is wrong with the socket is left to the next message to find.
        let Ok(fd) = self.fd.ours() else { return true };
        poll(&mut [PollFd::new(fd, PollFlags::OUT)], timeout.as_ref()).map_or(true, |ready| ready > 0)
    }

    fn pause(time: Duration) {
        // A signal may end it early.
        let _ = poll(&mut [], Timespec::try_from(time).ok().as_ref());
    }

    #[cfg(all(feature = "journald", target_os = "linux"))]
    fn send_by_file(&self, bytes: &[u8]) -> io::Result<()> {
        use rustix::fs::{MemfdFlags, SealFlags};
        use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage};

        let file = rustix::fs::memfd_create("journal-entry", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))?;
            rest = rest.get(written..).unwrap_or_default();
        }
        rustix::fs::fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [file.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        net::sendmsg(self.fd.ours()?, &[], &mut ancillary, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

impl SystemConnection {
    fn of(fd: OwnedFd, framing: Framing) -> Self {
        Self { fd: Descriptor::new(fd), framing, is_established: true }
    }
}

/// A connection to a port of this machine at which nobody listens may get that port for its own
/// end, and is connected to itself.
fn refuse_itself(stream: &OwnedFd) -> io::Result<()> {
    match Some(net::getsockname(stream)?) == net::getpeername(stream)? {
        true => Err(io::ErrorKind::ConnectionRefused.into()),
        false => Ok(()),
    }
}

fn family(address: &SocketAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

/// Makes a socket that never waits. Its number is never that of a standard stream, which the
/// program may have closed.
fn socket(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    let socket = net::socket(family, kind, None)?;
    let socket = rustix::io::fcntl_dupfd_cloexec(socket.as_fd(), 3)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    /// To a program whose own connection had failed it looked as if it had worked: the log had
    /// taken the error out of its socket.
    #[test]
    fn a_number_that_the_program_uses_keeps_its_error_and_is_not_waited_for() {
        let programs = UdpSocket::bind("127.0.0.1:0").unwrap();
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        programs.connect(gone).unwrap();
        programs.send(b"to nobody").unwrap();
        // The answer may take a moment, and there is none while some other socket has that port.
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        while poll(&mut [PollFd::new(&programs, PollFlags::empty())], Some(&second)) == Ok(0) {
            programs.send(b"to nobody").unwrap();
        }
        let stream = socket(AddressFamily::INET, SocketType::STREAM).unwrap();
        let mut connection =
            SystemConnection { is_established: false, ..SystemConnection::of(stream, Framing::OctetCount) };
        rustix::io::dup2(&programs, &mut connection.fd).unwrap();
        let error = connection.establish().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::BADF.raw_os_error()));
        let error = programs.take_error().unwrap().map(|error| error.kind());
        assert_eq!(error, Some(io::ErrorKind::ConnectionRefused));
        // Nobody who reads a pipe leaves room in it.
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        rustix::io::dup2(&reader, &mut connection.fd).unwrap();
        assert!(connection.wait(Duration::from_secs(60)));
    }
}
