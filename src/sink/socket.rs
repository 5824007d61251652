//! Messages to another program or machine: datagrams, or frames on a stream; nothing here waits.
//! Runs on the writer's thread.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{self, AddressFamily, SendFlags, SocketAddrUnix, SocketType};

use crate::os::CloseInChild;

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A local socket: of datagrams, or else a stream.
    Unix(PathBuf),
    Udp(SocketAddr),
    Tcp(SocketAddr),
}

/// How a stream shows where a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A message is a datagram.
    None,
    /// A newline after the message, as syslog daemons read a local stream.
    Newline,
    /// The number of bytes before the message (RFC 6587, octet counting).
    OctetCount,
}

/// A connection to a destination, as the system makes it or a test.
pub(crate) trait Connection: Sized + Send {
    fn connect(to: &Destination) -> io::Result<Self>;

    fn framing(&self) -> Framing;

    /// Looks whether the other side has answered: a TCP connection takes its time.
    ///
    /// # Errors
    ///
    /// `WouldBlock` as long as it has not.
    fn establish(&mut self) -> io::Result<()>;

    /// Sends what the other side takes now, a datagram whole or not at all. Returns the number of
    /// bytes.
    fn send(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Sends the descriptor of a sealed file in memory, which the other side maps.
    #[cfg(all(feature = "journald", target_os = "linux"))]
    fn send_by_file(&self, bytes: &[u8]) -> io::Result<()>;
}

/// A connection to a destination, which is made again when it is gone.
pub(super) struct Socket<C = SystemConnection> {
    to: Destination,
    connection: Option<C>,
    /// The frame of a message that a stream has taken only in part: it is sent before all others,
    /// and from its beginning after a new connection.
    unfinished: Vec<u8>,
    sent: usize,
    frame: Vec<u8>,
}

/// A connection that the system has made.
pub(crate) struct SystemConnection {
    _in_child: CloseInChild,
    fd: OwnedFd,
    framing: Framing,
    is_established: bool,
}

impl<C: Connection> Socket<C> {
    pub(super) fn new(to: Destination) -> Self {
        Self { to, connection: None, unfinished: Vec::new(), sent: 0, frame: Vec::new() }
    }

    /// Connects if there is no connection, and sends what is unfinished.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where the other side has not answered yet or takes nothing now.
    pub(super) fn get_ready(&mut self) -> io::Result<()> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                self.sent = 0;
                none.insert(C::connect(&self.to)?)
            }
        };
        let ready = connection.establish();
        let finished = ready.and_then(|()| self.finish());
        self.forget_if_gone(&finished);
        finished
    }

    /// Sends one message whole, or takes it for sent and keeps what the other side has not taken.
    ///
    /// # Errors
    ///
    /// The message was not sent, and no part of it will be. A connection that is gone is made again
    /// first, once.
    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self.get_ready().and_then(|()| self.send_once(message)) {
            Err(error) if is_gone(&error) => {
                self.get_ready()?;
                self.send_once(message)
            }
            result => result,
        }
    }

    /// Sends a message that no datagram can hold by the descriptor of a sealed file in memory.
    #[cfg(all(feature = "journald", target_os = "linux"))]
    pub(super) fn send_by_file(&mut self, message: &[u8]) -> io::Result<()> {
        let Some(connection) = &self.connection else { return Err(io::ErrorKind::NotConnected.into()) };
        let sent = connection.send_by_file(message);
        self.forget_if_gone(&sent);
        sent
    }

    fn send_once(&mut self, message: &[u8]) -> io::Result<()> {
        let Some(connection) = &self.connection else { return Err(io::ErrorKind::NotConnected.into()) };
        self.frame.clear();
        if connection.framing() == Framing::OctetCount {
            self.frame.extend_from_slice(format!("{} ", message.len()).as_bytes());
        }
        self.frame.extend_from_slice(message);
        if connection.framing() == Framing::Newline {
            self.frame.push(b'\n');
        }
        let sent = connection.send(&self.frame);
        // A datagram is sent whole or not at all.
        if let Ok(sent) = sent {
            if sent < self.frame.len() {
                std::mem::swap(&mut self.unfinished, &mut self.frame);
                self.sent = sent;
            }
        }
        self.forget_if_gone(&sent);
        sent.map(drop)
    }

    /// Sends what is left of an unfinished frame.
    fn finish(&mut self) -> io::Result<()> {
        let Some(connection) = &self.connection else { return Ok(()) };
        while self.sent < self.unfinished.len() {
            self.sent += connection.send(&self.unfinished[self.sent..])?;
        }
        self.unfinished.clear();
        self.sent = 0;
        Ok(())
    }

    fn forget_if_gone<T>(&mut self, result: &io::Result<T>) {
        if result.as_ref().is_err_and(is_gone) {
            self.connection = None;
        }
    }
}

/// Returns true if this message alone does not fit a datagram.
pub(super) fn is_too_large(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error())
}

/// Returns true if this error ends a connection.
fn is_gone(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::WouldBlock && !is_too_large(error)
}

impl Connection for SystemConnection {
    fn connect(to: &Destination) -> io::Result<Self> {
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
            Destination::Udp(address) => {
                let datagrams = socket(family(address), SocketType::DGRAM)?;
                net::connect(&datagrams, address)?;
                Ok(Self::of(datagrams, Framing::None))
            }
            Destination::Tcp(address) => {
                let stream = socket(family(address), SocketType::STREAM)?;
                match net::connect(&stream, address) {
                    Ok(()) => Ok(Self::of(stream, Framing::OctetCount)),
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
        let mut asked = [rustix::event::PollFd::new(&self.fd, rustix::event::PollFlags::OUT)];
        if rustix::event::poll(&mut asked, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }))? == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        net::sockopt::socket_error(&self.fd)??;
        self.is_established = true;
        Ok(())
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        // macOS has no such flag; the writer's thread blocks SIGPIPE anyway.
        #[cfg(target_vendor = "apple")]
        let flags = SendFlags::DONTWAIT;
        #[cfg(not(target_vendor = "apple"))]
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match rustix::io::retry_on_intr(|| net::send(&self.fd, bytes, flags)) {
            // A full queue of a network device, which empties by itself.
            Err(rustix::io::Errno::NOBUFS) => Err(io::ErrorKind::WouldBlock.into()),
            result => Ok(result?),
        }
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
        net::sendmsg(&self.fd, &[], &mut ancillary, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

impl SystemConnection {
    fn of(fd: OwnedFd, framing: Framing) -> Self {
        Self { _in_child: CloseInChild::new(fd.as_raw_fd()), fd, framing, is_established: true }
    }
}

fn family(address: &SocketAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

/// A socket that never waits, and whose number is none of the standard streams', which the program
/// may have closed.
fn socket(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    let socket = net::socket(family, kind, None)?;
    let socket = rustix::io::fcntl_dupfd_cloexec(socket.as_fd(), 3)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::net::{TcpListener, UdpSocket};
    use std::os::unix::net::{UnixDatagram, UnixListener};

    use super::*;

    /// Sends until the message is taken, as the writer does by asking again.
    fn send(socket: &mut Socket, message: &[u8]) {
        loop {
            match socket.send(message) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                result => return result.unwrap(),
            }
        }
    }

    #[test]
    fn a_local_socket_gets_datagrams_and_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut socket = Socket::<SystemConnection>::new(Destination::Unix(path.clone()));
        assert!(socket.send(b"nobody hears").is_err());
        for round in 0..2 {
            let reader = UnixDatagram::bind(&path).unwrap();
            socket.send(format!("message {round}").as_bytes()).unwrap();
            let mut bytes = [0; 64];
            let len = reader.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..len], format!("message {round}").as_bytes());
            drop(reader);
            std::fs::remove_file(&path).unwrap();
        }
        assert!(socket.send(b"nobody hears").is_err());
    }

    #[test]
    fn a_local_stream_gets_a_line_for_each_message() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let listener = UnixListener::bind(&path).unwrap();
        let mut socket = Socket::<SystemConnection>::new(Destination::Unix(path));
        send(&mut socket, b"one");
        send(&mut socket, b"two");
        let mut lines = BufReader::new(listener.accept().unwrap().0).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "one");
        assert_eq!(lines.next().unwrap().unwrap(), "two");
    }

    #[test]
    fn udp_gets_a_datagram_for_each_message() {
        let reader = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut socket = Socket::<SystemConnection>::new(Destination::Udp(reader.local_addr().unwrap()));
        send(&mut socket, b"hello");
        let mut bytes = [0; 64];
        let len = reader.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..len], b"hello");
    }

    #[test]
    fn a_stream_whose_reader_pauses_loses_and_tears_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket = Socket::<SystemConnection>::new(Destination::Tcp(listener.local_addr().unwrap()));
        let message = |number: usize| format!("{number:06} {}", "x".repeat(number % 5000));
        let (mut taken, mut refused) = (0, 0);
        while refused == 0 || taken < 100 {
            match socket.send(message(taken).as_bytes()) {
                Ok(()) => taken += 1,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    refused += usize::from(taken > 0);
                }
            }
        }
        let reader = std::thread::spawn(move || {
            let mut reader = BufReader::new(listener.accept().unwrap().0);
            let mut number = 0;
            loop {
                let mut len = Vec::new();
                reader.read_until(b' ', &mut len).unwrap();
                let Some(len) = std::str::from_utf8(&len).unwrap().strip_suffix(' ') else { return number };
                let mut bytes = vec![0; len.parse().unwrap()];
                reader.read_exact(&mut bytes).unwrap();
                assert_eq!(String::from_utf8(bytes).unwrap(), message(number));
                number += 1;
            }
        });
        for number in taken..taken + 2000 {
            send(&mut socket, message(number).as_bytes());
        }
        while socket.get_ready().is_err() {
            std::thread::yield_now();
        }
        drop(socket);
        assert_eq!(reader.join().unwrap(), taken + 2000);
    }

    #[test]
    fn after_a_new_connection_an_unfinished_message_comes_whole() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket = Socket::<SystemConnection>::new(Destination::Tcp(listener.local_addr().unwrap()));
        send(&mut socket, b"first");
        let first = listener.accept().unwrap().0;
        let long = vec![b'y'; 60_000];
        while socket.unfinished.is_empty() {
            send(&mut socket, &long);
        }
        drop(first);
        let mut second = None;
        let mut read = Vec::new();
        listener.set_nonblocking(true).unwrap();
        while socket.get_ready().is_err() || !socket.unfinished.is_empty() || second.is_none() {
            if let (None, Ok((stream, _))) = (&second, listener.accept()) {
                stream.set_nonblocking(true).unwrap();
                second = Some(stream);
            }
            if let Some(stream) = &mut second {
                let _ = stream.read_to_end(&mut read);
            }
        }
        drop(socket);
        let mut stream = second.unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.read_to_end(&mut read).unwrap();
        assert!(read.starts_with(b"60000 yyy"), "{:?}", String::from_utf8_lossy(&read[..20]));
        assert_eq!(read.len() % 60_006, 0);
    }
}
