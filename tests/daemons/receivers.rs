//! Daemons that are sockets of the test's own: what closes, pauses, comes back at the same address,
//! or was never there.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use unfazed::{Builder, Handle, InitError, Journald, State, Syslog};

use super::support::child::{self, Outcome};
use super::{PATIENCE, logger};

/// Where a daemon listens for streams.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, tempfile::TempDir),
}

/// A daemon's end of a stream.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    fn all() -> [Self; 2] {
        let folder = tempfile::tempdir().unwrap();
        let unix = UnixListener::bind(folder.path().join("log")).unwrap();
        [Self::Tcp(TcpListener::bind("127.0.0.1:0").unwrap()), Self::Unix(unix, folder)]
    }

    fn syslog(&self) -> Syslog {
        match self {
            Self::Tcp(listener) => Syslog::tcp(listener.local_addr().unwrap()).unwrap(),
            Self::Unix(_, folder) => Syslog::unix(folder.path().join("log")),
        }
    }

    fn accept(&self) -> Stream {
        let mut accepted = None;
        let accept = || {
            accepted = match self {
                Self::Tcp(listener) => {
                    listener.set_nonblocking(true).unwrap();
                    listener.accept().ok().map(|(stream, _)| Stream::Tcp(stream))
                }
                Self::Unix(listener, _) => {
                    listener.set_nonblocking(true).unwrap();
                    listener.accept().ok().map(|(stream, _)| Stream::Unix(stream))
                }
            };
            accepted.is_some()
        };
        child::wait_until(|| "a connection comes".to_owned(), PATIENCE, accept);
        accepted.unwrap()
    }

    /// Closes the listener. Returns what listens again at its address.
    fn close(self) -> impl FnOnce() -> Self {
        let closed: Box<dyn FnOnce() -> Self> = match self {
            Self::Tcp(listener) => {
                let address = listener.local_addr().unwrap();
                Box::new(move || Self::Tcp(TcpListener::bind(address).unwrap()))
            }
            Self::Unix(_, folder) => {
                let path = folder.path().join("log");
                fs::remove_file(&path).unwrap();
                Box::new(move || Self::Unix(UnixListener::bind(path).unwrap(), folder))
            }
        };
        closed
    }
}

impl Stream {
    /// Reads until `what` has come. Returns all that has.
    fn read_until(&mut self, what: &str) -> String {
        let (mut read, mut bytes) = (Vec::new(), [0; 4096]);
        loop {
            let text = String::from_utf8_lossy(&read);
            if text.contains(what) {
                return text.into_owned();
            }
            let len = self.reader().read(&mut bytes).unwrap();
            assert!(len > 0, "`{what}` has not come: {text}");
            read.extend_from_slice(&bytes[..len]);
        }
    }

    fn reader(&mut self) -> &mut dyn Read {
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream
            }
        }
    }

    /// Closes it, and waits until the other end can see that.
    fn close(self) {
        let Self::Tcp(stream) = self else { return };
        let port = |address: SocketAddr| format!("0100007F:{:04X}", address.port());
        let ends = format!("{} {}", port(stream.peer_addr().unwrap()), port(stream.local_addr().unwrap()));
        drop(stream);
        let is_established = || fs::read_to_string("/proc/self/net/tcp").unwrap().contains(&format!("{ends} 01"));
        child::wait_until(|| "the end is seen".to_owned(), PATIENCE, || !is_established());
    }
}

fn wait_for(handle: &Handle, what: &str, condition: impl Fn(State) -> bool) {
    child::wait_until(|| format!("{what}: {:?}", handle.stats()), PATIENCE, || condition(handle.state()));
}

fn wait_until_suspended(handle: &Handle) {
    wait_for(handle, "it is suspended", |state| matches!(state, State::Suspended(_)));
}

pub(super) fn a_daemon_that_has_closed_gets_the_next_message_by_a_new_connection(_: &Path) -> Outcome {
    for listener in Listener::all() {
        let (logger, handle) = logger(listener.syslog());
        let mut stream = listener.accept();
        log::info!(logger: logger, "before");
        stream.read_until("before");
        stream.close();
        log::info!(logger: logger, "the only record of the night");
        handle.flush(PATIENCE).unwrap();
        // What was lost would keep this waiting.
        log::info!(logger: logger, "next morning");
        let read = listener.accept().read_until("next morning");
        assert!(read.contains("the only record of the night"), "{read}");
        assert_eq!(handle.stats().dropped.total(), 0);
    }
    Outcome::holds()
}

pub(super) fn a_daemon_that_has_closed_at_rest_suspends_its_output_and_gets_a_gap_line(_: &Path) -> Outcome {
    for listener in Listener::all() {
        let (logger, handle) = logger(listener.syslog());
        let mut stream = listener.accept();
        log::info!(logger: logger, "before");
        stream.read_until("before");
        let again = listener.close();
        stream.close();
        wait_until_suspended(&handle);
        log::error!(logger: logger, "nobody hears this yet");
        let mut stream = again().accept();
        let read = stream.read_until("nobody hears this yet");
        assert!(read.contains("logging resumed"), "{read}");
        wait_for(&handle, "it is back", |state| state == State::Healthy);
        handle.flush(PATIENCE).unwrap();
    }
    Outcome::holds()
}

pub(super) fn what_a_daemon_sends_is_no_end_and_does_not_hide_one(_: &Path) -> Outcome {
    use std::io::Write as _;

    for listener in Listener::all() {
        let (logger, handle) = logger(listener.syslog());
        let mut stream = listener.accept();
        for answer in [1, 10_000] {
            let answer = vec![b'x'; answer];
            match &mut stream {
                Stream::Tcp(stream) => stream.write_all(&answer).unwrap(),
                Stream::Unix(stream) => stream.write_all(&answer).unwrap(),
            }
            log::info!(logger: logger, "heard {}", answer.len());
            stream.read_until(&format!("heard {}", answer.len()));
        }
        stream.close();
        log::info!(logger: logger, "after");
        handle.flush(PATIENCE).unwrap();
        listener.accept().read_until("after");
    }
    Outcome::holds()
}

pub(super) fn a_message_of_which_a_part_is_sent_is_not_written(_: &Path) -> Outcome {
    for listener in Listener::all() {
        let syslog = listener.syslog().max_len(65_000);
        let (logger, handle) = Builder::new().syslog(syslog).build().unwrap();
        let mut stream = listener.accept();
        let long = "x".repeat(60_000);
        let mut flushed = 0;
        loop {
            log::info!(logger: logger, "{long}");
            if handle.flush(Duration::from_millis(300)).is_err() {
                break;
            }
            flushed += 1;
        }
        let _ = handle.shutdown(Duration::from_millis(100));
        // Its end shows that the writer has ended.
        let mut read = Vec::new();
        stream.reader().read_to_end(&mut read).unwrap();
        let stats = handle.stats();
        let whole = whole_messages(&read, &long);
        assert_eq!((stats.written, stats.pending), (whole, 0), "{stats:?}");
        assert!(flushed <= whole, "{flushed} flushes for {whole} messages");
        assert_eq!(stats.accepted, stats.written + stats.dropped.total());
    }
    Outcome::holds()
}

/// The number of messages that end with `long`.
fn whole_messages(read: &[u8], long: &str) -> u64 {
    let mut whole = 0;
    let mut run = 0;
    for byte in read {
        run = if *byte == b'x' { run + 1 } else { 0 };
        whole += u64::from(run == long.len());
    }
    whole
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind(udp.local_addr().unwrap()).unwrap();
    tcp.local_addr().unwrap()
}

pub(super) fn each_address_of_a_name_is_tried_by_tcp(_: &Path) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [nobody(), nobody(), listener.local_addr().unwrap()];
    let (logger, handle) = logger(Syslog::tcp(&addresses[..]).unwrap());
    log::info!(logger: logger, "found");
    handle.flush(PATIENCE).unwrap();
    Listener::Tcp(listener).accept().read_until("found");
    let stats = handle.stats();
    assert_eq!((stats.written, stats.dropped.total()), (1, 0), "{stats:?}");
    Outcome::holds()
}

pub(super) fn an_address_that_does_not_answer_is_followed_by_the_next(_: &Path) -> Outcome {
    let (silent, _waiting) = silent();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [silent.local_addr().unwrap(), listener.local_addr().unwrap()];
    let syslog = Syslog::tcp(&addresses[..]).unwrap();
    let (logger, handle) = Builder::new().syslog(syslog).require_outputs(true).build().unwrap();
    log::info!(logger: logger, "found");
    handle.flush(PATIENCE).unwrap();
    Listener::Tcp(listener).accept().read_until("found");
    Outcome::holds()
}

pub(super) fn an_address_that_does_not_answer_is_followed_by_the_next_at_rest_too(_: &Path) -> Outcome {
    let (silent, _waiting) = silent();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [silent.local_addr().unwrap(), listener.local_addr().unwrap()];
    let (logger, _) = logger(Syslog::tcp(&addresses[..]).unwrap());
    // Nothing is logged before it is connected.
    let mut stream = Listener::Tcp(listener).accept();
    log::info!(logger: logger, "found");
    stream.read_until("found");
    Outcome::holds()
}

pub(super) fn a_daemon_that_closes_before_it_has_read_all_suspends_its_output(_: &Path) -> Outcome {
    for listener in Listener::all() {
        let (logger, handle) = logger(listener.syslog());
        let log = |message: &str| {
            log::info!(logger: logger, "{message}");
            let _ = handle.flush(PATIENCE);
        };
        log("lost");
        listener.accept().close();
        log("the next");
        assert_eq!(handle.stats().outputs[0].suspensions, 1, "{:?}", handle.stats());
        listener.accept().read_until("logging resumed");
    }
    Outcome::holds()
}

/// A proxy that has nobody to hand a connection to takes it and closes it: once the output was
/// healthy, and every record was lost.
pub(super) fn a_daemon_that_closes_each_connection_at_once_suspends_its_output(_: &Path) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (logger, handle) = logger(Syslog::tcp(listener.local_addr().unwrap()).unwrap());
    let is_suspended = || handle.stats().outputs[0].suspensions > 0;
    std::thread::scope(|threads| {
        threads.spawn(|| {
            listener.set_nonblocking(true).unwrap();
            while !is_suspended() {
                drop(listener.accept());
                std::thread::yield_now();
            }
        });
        let log_one = || {
            log::info!(logger: logger, "lost");
            let _ = handle.flush(PATIENCE);
            is_suspended()
        };
        child::wait_until(|| format!("it is suspended: {:?}", handle.stats()), PATIENCE, log_one);
    });
    Listener::Tcp(listener).accept().read_until("logging resumed");
    Outcome::holds()
}

/// Returns a listener that answers nobody, and the connections that fill its queue.
fn silent() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
        waiting.push(stream);
    }
    (listener, waiting)
}

pub(super) fn each_address_of_a_name_is_tried_by_udp(_: &Path) -> Outcome {
    let reader = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addresses = [nobody(), nobody(), reader.local_addr().unwrap()];
    let (logger, handle) = logger(Syslog::udp(&addresses[..]).unwrap());
    log::info!(logger: logger, "found");
    handle.flush(PATIENCE).unwrap();
    assert!(datagram(&reader).ends_with("found"));
    Outcome::holds()
}

fn datagram(reader: &UdpSocket) -> String {
    reader.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = [0; 4096];
    let len = reader.recv(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes[..len]).into_owned()
}

pub(super) fn a_daemon_that_is_gone_by_udp_suspends_its_output_and_gets_a_gap_line(_: &Path) -> Outcome {
    let reader = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = reader.local_addr().unwrap();
    let (logger, handle) = logger(Syslog::udp(address).unwrap());
    log::info!(logger: logger, "before");
    assert!(datagram(&reader).ends_with("before"));
    drop(reader);
    // The first one is sent to nobody, and the system learns of that after it.
    let gone = || {
        log::info!(logger: logger, "nobody hears this");
        matches!(handle.state(), State::Suspended(_))
    };
    child::wait_until(|| format!("it is suspended: {:?}", handle.stats()), PATIENCE, gone);
    log::error!(logger: logger, "but this is retained");
    let reader = UdpSocket::bind(address).unwrap();
    let first = datagram(&reader);
    assert!(first.contains("logging resumed"), "{first}");
    assert!(datagram(&reader).ends_with("but this is retained"));
    wait_for(&handle, "it is back", |state| state == State::Healthy);
    Outcome::holds()
}

/// In a process of its own, because it changes the directory.
pub(super) fn a_relative_path_stays_where_it_was(dir: &Path) -> Outcome {
    let short = tempfile::tempdir().unwrap();
    let status = child::command("moves", dir).current_dir(&short).stdout(Stdio::null()).status();
    assert!(status.unwrap().success());
    Outcome::holds()
}

/// The child of the case before.
pub(super) fn moves() {
    let here = std::env::current_dir().unwrap();
    let syslog = Builder::new().syslog(Syslog::unix("log.sock")).build().unwrap();
    let journald = Builder::new().journald(Journald::new().socket("journal.sock")).build().unwrap();
    std::env::set_current_dir("/").unwrap();
    for ((logger, _handle), name) in [(syslog, "log.sock"), (journald, "journal.sock")] {
        let reader = UnixDatagram::bind(here.join(name)).unwrap();
        reader.set_read_timeout(Some(PATIENCE / 4)).unwrap();
        log::set_max_level(log::LevelFilter::Info);
        log::error!(logger: logger, "found");
        let mut bytes = [0; 4096];
        assert!(reader.recv(&mut bytes).unwrap() > 0);
    }
}

pub(super) fn the_path_of_a_socket_that_cannot_be_is_an_error_that_names_its_range(_: &Path) -> Outcome {
    for path in ["", "a\0b", &"x".repeat(108), &format!("/{}", "x".repeat(300))] {
        let path = PathBuf::from(path);
        for (builder, option) in [
            (Builder::new().syslog(Syslog::unix(&path)), "`unix`"),
            (Builder::new().journald(Journald::new().socket(&path)), "`socket`"),
        ] {
            match builder.build() {
                Err(error @ InitError::Option { .. }) => {
                    let error = error.to_string();
                    assert!(error.contains(option) && error.contains("107 bytes"), "{error}");
                }
                other => panic!("{path:?}: {other:?}"),
            }
        }
    }
    Outcome::holds()
}

pub(super) fn an_output_that_is_required_is_open_once_it_is_connected(_: &Path) -> Outcome {
    let required = |to: &TcpListener| {
        let syslog = Syslog::tcp(to.local_addr().unwrap()).unwrap();
        Builder::new().syslog(syslog).require_outputs(true).build()
    };
    assert!(required(&TcpListener::bind("127.0.0.1:0").unwrap()).is_ok());
    let (silent, _waiting) = silent();
    match required(&silent) {
        Err(error @ InitError::Output { .. }) => assert!(error.to_string().contains("syslog tcp"), "{error}"),
        other => panic!("{other:?}"),
    }
    Outcome::holds()
}
