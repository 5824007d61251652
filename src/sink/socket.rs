//! Messages to another program or machine: datagrams, or frames on a stream; nothing here waits.
//! Runs on the writer's thread.

mod system;

use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Batch, Health, Lag, Now, OutputSink, WriteError};

pub(crate) use system::SystemConnection;

/// The time between two checks, at rest, of a connection that is being made.
const CONNECTING_CHECK: Duration = Duration::from_millis(50);

/// Where a name has several addresses, one that has not answered in this time gives way to the
/// next.
const CONNECT_WITHIN: Duration = Duration::from_millis(500);

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A local socket: of datagrams, or else a stream.
    Unix(PathBuf),
    /// The addresses of a name, of which the first that works is taken.
    Udp(Vec<SocketAddr>),
    Tcp(Vec<SocketAddr>),
}

impl Destination {
    fn addresses(&self) -> usize {
        match self {
            Destination::Unix(_) => 1,
            Destination::Udp(addresses) | Destination::Tcp(addresses) => addresses.len().max(1),
        }
    }
}

/// The longest path of a local socket, and the range as errors name it.
const LONGEST_PATH: (usize, &str) = match cfg!(any(target_os = "linux", target_os = "android")) {
    true => (107, "a path of 1 to 107 bytes, from the root on, without a NUL byte"),
    false => (103, "a path of 1 to 103 bytes, from the root on, without a NUL byte"),
};

/// Returns the absolute path of a socket.
///
/// # Errors
///
/// The range, if it is not the path of a socket.
pub(crate) fn address_path(path: &Path) -> Result<PathBuf, &'static str> {
    let (longest, range) = LONGEST_PATH;
    let fits = |path: &Path| path.as_os_str().len() <= longest && !path.as_os_str().as_bytes().contains(&0);
    std::path::absolute(path).ok().filter(|path| fits(path)).ok_or(range)
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

/// A connection to a destination: the system's, or that of a test.
pub(crate) trait Connection: Sized + Send {
    /// Connects to the address at this place of the destination.
    fn connect(to: &Destination, place: usize) -> io::Result<Self>;

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

    /// Reads what the other side has sent, which nobody wants.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof`: the other side has closed the stream, and has read all; another one if it
    /// has not, or has refused a datagram.
    fn hear(&self) -> io::Result<()>;

    /// Waits up to `at_most` until the other side has answered and left room. Returns true if it
    /// has.
    fn wait(&self, at_most: Duration) -> bool;

    /// Waits for nothing but the time.
    fn pause(time: Duration);

    /// Sends the descriptor of a sealed file in memory, which the other side maps.
    #[cfg(all(feature = "journald", target_os = "linux"))]
    fn send_by_file(&self, bytes: &[u8]) -> io::Result<()>;
}

/// The sink of a daemon: a connection to a destination, which is made again when it is gone.
pub(crate) struct Socket<C = SystemConnection> {
    to: Destination,
    /// Sends a line of a batch.
    send_line: fn(&mut Self, &[u8]) -> io::Result<Sent>,
    /// The place of the address that is connected, or tried next.
    place: usize,
    /// The number of addresses that have failed since one worked, or since that was an error.
    failed: usize,
    live: Option<Live<C>>,
    /// The frame of a message that a stream has taken only in part: it is sent before all others,
    /// and from its beginning after a new connection.
    unfinished: Vec<u8>,
    sent: usize,
    /// The unfinished message is a line of the crate's own, which the writer hands over only once.
    is_notice: bool,
    /// The other side has taken something of the batch.
    took_some: bool,
    frame: Vec<u8>,
    /// When the writer asked last.
    now: Option<Instant>,
}

/// A connection, and what is known of it.
struct Live<C> {
    connection: C,
    is_established: bool,
    /// When it was begun to be made.
    begun: Option<Instant>,
    /// Nothing was sent yet.
    is_new: bool,
    /// The other side was heard after the last message, or the connection is new: one look at it
    /// for each batch is enough.
    is_heard: bool,
    /// The check that follows each batch at once is over: it would find nothing new.
    is_at_rest: bool,
    /// It was made without a message to send, to replace one that the other side has closed.
    made_at_rest: bool,
}

/// How much of a message a stream has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Whole,
    /// The rest is stored, and is sent before anything else.
    Part,
}

impl<C> Live<C> {
    fn new(connection: C, begun: Option<Instant>) -> Self {
        let (is_established, made_at_rest) = (false, false);
        Self { connection, is_established, begun, is_new: true, is_heard: true, is_at_rest: true, made_at_rest }
    }

    /// Returns true if the other side has not answered in time.
    fn is_late(&self, now: Option<Instant>) -> bool {
        let since = now.zip(self.begun).map(|(now, begun)| now.saturating_duration_since(begun));
        since.is_some_and(|since| since >= CONNECT_WITHIN)
    }

    fn has_taken(&mut self) {
        self.is_new = false;
        self.is_heard = false;
        self.is_at_rest = false;
        self.made_at_rest = false;
    }
}

impl<C: Connection> OutputSink for Socket<C> {
    /// # Errors
    ///
    /// The other side takes nothing now, or is gone; what it had not read when it went is lost. A
    /// message of which a part was sent is finished before anything else; the writer hands it over
    /// again as an empty line, or whole after an error.
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), WriteError> {
        self.took_some = false;
        self.now = Some(batch.now().monotonic);
        self.hear().map_err(|error| self.failure(0, "write", error))?;
        for (number, line) in batch.lines().enumerate() {
            let sent = match line.bytes() {
                [] => self.send_rest().map(|()| Sent::Whole),
                line => (self.send_line)(self, line),
            };
            match sent {
                Ok(Sent::Whole) => {}
                Ok(Sent::Part) => {
                    self.is_notice = batch.is_notice(number);
                    return Err(WriteError::lagging(number, Lag { begun: true, took_some: true }));
                }
                Err(error) => return Err(self.failure(number, "write", error)),
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        self.send_rest().map_err(|error| self.failure(0, "flush", error))
    }

    /// # Errors
    ///
    /// The other side is gone, or has not answered yet.
    fn retry(&mut self, now: Now) -> Result<(), WriteError> {
        self.now = Some(now.monotonic);
        self.connect().map_err(|error| self.failure(0, "open", error))
    }

    /// Looks whether the other side has closed the connection while nothing was sent.
    ///
    /// # Errors
    ///
    /// The other side is gone.
    fn check(&mut self, now: Now) -> Result<Health, WriteError> {
        self.now = Some(now.monotonic);
        match self.look() {
            Ok(()) => Ok(Health::default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Ok(Health { check_after: Some(CONNECTING_CHECK), ..Health::default() })
            }
            Err(error) => Err(self.failure(0, "open", error)),
        }
    }

    /// Returns true if the other side has answered.
    fn is_open(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.is_established)
    }

    /// Waits up to `at_most` until the other side has answered and left room. Returns true if it
    /// has.
    fn wait(&mut self, at_most: Duration) -> bool {
        match &self.live {
            Some(live) => live.connection.wait(at_most),
            // A local daemon that accepts nobody now cannot be waited for.
            None => {
                C::pause(at_most);
                false
            }
        }
    }
}

impl<C: Connection> Socket<C> {
    /// Makes the sink of a daemon to which each line is sent by `send_line`, which says how much of
    /// it was taken.
    pub(super) fn new(to: Destination, send_line: fn(&mut Self, &[u8]) -> io::Result<Sent>) -> Self {
        Self {
            to,
            send_line,
            place: 0,
            failed: 0,
            live: None,
            unfinished: Vec::new(),
            sent: 0,
            is_notice: false,
            took_some: false,
            frame: Vec::new(),
            now: None,
        }
    }

    /// Makes an error of the output, after `written` lines. A socket that takes nothing now is not
    /// an error.
    fn failure(&mut self, written: usize, doing: &'static str, error: io::Error) -> WriteError {
        if error.kind() == io::ErrorKind::WouldBlock {
            return WriteError::lagging(written, Lag { begun: false, took_some: self.took_some });
        }
        if !self.is_notice {
            // The writer hands it over again.
            self.unfinished.clear();
            self.sent = 0;
        }
        WriteError::failed(written, doing, error)
    }

    /// Connects if there is no connection, to the first address that works.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where the other side has not answered yet.
    pub(super) fn connect(&mut self) -> io::Result<()> {
        loop {
            let connected = self.connect_to_one();
            match connected {
                Err(error) if is_gone(&error) && self.failed + 1 < self.to.addresses() => self.failed += 1,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                result => {
                    self.failed = 0;
                    return result;
                }
            }
        }
    }

    fn connect_to_one(&mut self) -> io::Result<()> {
        let live = match &mut self.live {
            Some(live) => Ok(live),
            none => C::connect(&self.to, self.place).map(|connection| none.insert(Live::new(connection, self.now))),
        };
        let (now, has_others) = (self.now, self.to.addresses() > 1);
        let established = live.and_then(|live| match live.connection.establish() {
            Ok(()) => {
                live.is_established = true;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && has_others && live.is_late(now) => {
                Err(io::ErrorKind::TimedOut.into())
            }
            Err(error) => Err(error),
        });
        self.lose_if_gone(&established);
        established
    }

    /// Connects again if the other side has closed the connection, but only once before the next
    /// message, because the other side may close each at once.
    fn look(&mut self) -> io::Result<()> {
        let Some(live) = &mut self.live else { return Ok(()) };
        if !live.is_established {
            return self.connect();
        }
        let made_at_rest = live.made_at_rest;
        let was_at_rest = std::mem::replace(&mut live.is_at_rest, true);
        if !was_at_rest || !self.has_closed()? || made_at_rest {
            return Ok(());
        }
        let connected = self.connect();
        if let Some(live) = &mut self.live {
            live.made_at_rest = true;
        }
        connected
    }

    /// Looks whether the other side has closed the stream, once for each batch: what is sent then
    /// is taken by the system and lost. Whoever sends connects again.
    fn hear(&mut self) -> io::Result<()> {
        if self.live.as_ref().is_some_and(|live| live.is_established && !live.is_heard) {
            // Without a connection, the first line makes one.
            self.has_closed()?;
        }
        Ok(())
    }

    /// Asks the other side of a stream. Returns true if it has closed the connection, which is gone
    /// then.
    ///
    /// # Errors
    ///
    /// It has not read all that was sent.
    fn has_closed(&mut self) -> io::Result<bool> {
        let Some(live) = self.live.as_mut().filter(|live| live.connection.framing() != Framing::None) else {
            return Ok(false);
        };
        live.is_heard = true;
        let heard = live.connection.hear();
        self.lose_if_gone(&heard);
        match heard {
            Ok(()) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Sends the rest of what is unfinished.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where the other side has not answered yet or takes nothing now.
    fn send_rest(&mut self) -> io::Result<()> {
        if self.unfinished.is_empty() {
            return Ok(());
        }
        self.with_connection(Self::finish)
    }

    /// Sends one message, after what is unfinished.
    ///
    /// # Errors
    ///
    /// No part of the message was sent. A connection that is gone is made again first, once.
    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<Sent> {
        self.with_connection(|socket| {
            socket.finish()?;
            socket.send_once(message)
        })
    }

    /// Calls `send`. After an error that ends the connection, calls it again with a new one, at
    /// most once for each address.
    fn with_connection<T>(&mut self, mut send: impl FnMut(&mut Self) -> io::Result<T>) -> io::Result<T> {
        let mut left = self.to.addresses();
        loop {
            self.connect()?;
            match send(self) {
                Err(error) if is_gone(&error) && left > 0 => left -= 1,
                result => return result,
            }
        }
    }

    /// Sends a message that no datagram can hold by the descriptor of a sealed file in memory.
    #[cfg(all(feature = "journald", target_os = "linux"))]
    pub(super) fn send_by_file(&mut self, message: &[u8]) -> io::Result<Sent> {
        let Some(live) = &mut self.live else { return Err(io::ErrorKind::NotConnected.into()) };
        let sent = live.connection.send_by_file(message);
        if sent.is_ok() {
            live.has_taken();
            self.took_some = true;
        }
        self.lose_if_gone(&sent);
        sent.map(|()| Sent::Whole)
    }

    fn send_once(&mut self, message: &[u8]) -> io::Result<Sent> {
        let Some(live) = &mut self.live else { return Err(io::ErrorKind::NotConnected.into()) };
        let framing = live.connection.framing();
        self.frame.clear();
        if framing == Framing::OctetCount {
            self.frame.extend_from_slice(format!("{} ", message.len()).as_bytes());
        }
        self.frame.extend_from_slice(message);
        if framing == Framing::Newline {
            self.frame.push(b'\n');
        }
        let mut sent = live.connection.send(&self.frame);
        if sent.is_ok() {
            // A datagram is refused after it was sent: by a program of this machine, at once.
            let heard = if live.is_new && framing == Framing::None { live.connection.hear() } else { Ok(()) };
            live.has_taken();
            sent = heard.and(sent);
        }
        self.lose_if_gone(&sent);
        let sent = sent?;
        self.took_some = true;
        // A datagram is sent whole or not at all.
        if sent == self.frame.len() || framing == Framing::None {
            return Ok(Sent::Whole);
        }
        std::mem::swap(&mut self.unfinished, &mut self.frame);
        self.sent = sent;
        Ok(Sent::Part)
    }

    /// Sends what is left of an unfinished frame.
    fn finish(&mut self) -> io::Result<()> {
        while self.sent < self.unfinished.len() {
            let Some(live) = &mut self.live else { return Err(io::ErrorKind::NotConnected.into()) };
            let sent = live.connection.send(&self.unfinished[self.sent..]);
            if sent.is_ok() {
                live.has_taken();
                self.took_some = true;
            }
            self.lose_if_gone(&sent);
            self.sent += sent?;
        }
        self.unfinished.clear();
        self.sent = 0;
        Ok(())
    }

    /// Drops the connection if this error ends it.
    fn lose_if_gone<T>(&mut self, result: &io::Result<T>) {
        if result.as_ref().is_err_and(is_gone) {
            self.lose();
        }
    }

    /// Drops the connection. If it was a stream that worked, its address is tried again; otherwise
    /// the next one.
    fn lose(&mut self) {
        let is_stream = |live: &Live<C>| live.is_established && live.connection.framing() != Framing::None;
        if !self.live.take().as_ref().is_some_and(is_stream) {
            self.place = (self.place + 1) % self.to.addresses();
        }
        self.sent = 0;
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
                result => return result.map(drop).unwrap(),
            }
        }
    }

    #[test]
    fn a_local_socket_gets_datagrams_and_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut socket = Socket::<SystemConnection>::new(Destination::Unix(path.clone()), Socket::send);
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
        let mut socket = Socket::<SystemConnection>::new(Destination::Unix(path), Socket::send);
        send(&mut socket, b"one");
        send(&mut socket, b"two");
        let mut lines = BufReader::new(listener.accept().unwrap().0).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "one");
        assert_eq!(lines.next().unwrap().unwrap(), "two");
    }

    #[test]
    fn udp_gets_a_datagram_for_each_message() {
        let reader = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut socket =
            Socket::<SystemConnection>::new(Destination::Udp(vec![reader.local_addr().unwrap()]), Socket::send);
        send(&mut socket, b"hello");
        let mut bytes = [0; 64];
        let len = reader.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..len], b"hello");
    }

    #[test]
    fn a_stream_whose_reader_pauses_loses_and_tears_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket =
            Socket::<SystemConnection>::new(Destination::Tcp(vec![listener.local_addr().unwrap()]), Socket::send);
        let message = |number: usize| format!("{number:06} {}", "x".repeat(number % 5000));
        let (mut taken, mut refused) = (0, 0);
        while refused == 0 || taken < 100 {
            match socket.send(message(taken).as_bytes()) {
                Ok(_) => taken += 1,
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
        while socket.send_rest().is_err() {
            std::thread::yield_now();
        }
        drop(socket);
        assert_eq!(reader.join().unwrap(), taken + 2000);
    }

    #[test]
    fn after_a_new_connection_an_unfinished_message_comes_whole() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket =
            Socket::<SystemConnection>::new(Destination::Tcp(vec![listener.local_addr().unwrap()]), Socket::send);
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
        while socket.send_rest().is_err() || !socket.unfinished.is_empty() || second.is_none() {
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
