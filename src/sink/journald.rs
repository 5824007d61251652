//! `Journald`: an output to systemd's journal, by its native protocol. The options are a plain
//! value; the sink runs on the writer's thread.

use std::io;
use std::path::PathBuf;

use crate::format::Format;
use crate::wanted::Wanted;

use super::Backlog;
use super::otherwise::Otherwise;
use super::shared_options::{backlog_options, wanted_options};
use super::socket::{Connection, Destination, Sent, Socket, is_too_large};

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Holds an output to systemd's journal and its options. Needs the feature `journald`; on Linux
/// only. Given to [`Builder::journald`](crate::Builder::journald).
///
/// | option | default |
/// |---|---|
/// | [`level`](Self::level), [`levels`](Self::levels), [`filter`](Self::filter), [`filter_with`](Self::filter_with) | all that passes the logger's filter |
/// | [`identifier`](Self::identifier) | the name of the program's file |
/// | [`backlog`](Self::backlog), [`patience`](Self::patience) | 1 MiB, 5 s |
///
/// A record has the fields `MESSAGE`, `PRIORITY` (3 for ERROR, 4, 6, 7 for DEBUG and TRACE),
/// `SYSLOG_IDENTIFIER`, `SYSLOG_TIMESTAMP`, `TARGET`, `THREAD`, `CODE_FILE`, `CODE_LINE`, and one
/// for each constant field and key-value, in capital letters: `request_id` becomes `REQUEST_ID`. A
/// record that is too large for a datagram goes by a sealed memory file.
///
/// While the journal takes nothing, lines wait in the backlog; when it is gone, the output is
/// suspended, and comes back by itself.
///
/// ```no_run
/// use unfazed::{Builder, Journald};
///
/// Builder::new().journald(Journald::new()).init()?;
/// log::info!(request_id = 7; "served"); // journalctl REQUEST_ID=7
/// # Ok::<(), unfazed::InitError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "give it to `Builder::journald`"]
pub struct Journald {
    pub(crate) path: PathBuf,
    pub(crate) wanted: Wanted,
    pub(crate) identifier: Option<String>,
    pub(crate) backlog: Backlog,
}

impl From<Journald> for Otherwise {
    fn from(options: Journald) -> Self {
        Self::new(options)
    }
}

impl Journald {
    /// Returns the output with the defaults.
    pub fn new() -> Self {
        Self { path: SOCKET.into(), wanted: Wanted::EVERYTHING, identifier: None, backlog: Backlog::default() }
    }

    wanted_options!("unfazed::Journald::new()");

    /// Sets the `SYSLOG_IDENTIFIER`. Default: the name of the program's file.
    ///
    /// ```
    /// let journald = unfazed::Journald::new().identifier("shop");
    /// ```
    pub fn identifier(mut self, name: impl Into<String>) -> Self {
        self.identifier = Some(name.into());
        self
    }

    /// Sets the journal's socket. Default: `/run/systemd/journal/socket`; a namespace of the
    /// journal has another. A relative path is that of the directory in which the logger is set up.
    ///
    /// ```
    /// let journald = unfazed::Journald::new().socket("/run/systemd/journal.shop/socket");
    /// ```
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = path.into();
        self
    }

    backlog_options!("unfazed::Journald::new()", backlog);

    /// Returns the format of its records, with the name of the program.
    pub(crate) fn format(&self, program: Option<String>) -> Format {
        Format::journal(self.identifier.clone().or(program).unwrap_or_default())
    }
}

impl Default for Journald {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes the sink of a [`Journald`].
pub(crate) fn sink<C: Connection>(path: PathBuf) -> Socket<C> {
    Socket::new(Destination::Unix(path), send)
}

/// A record that is too large for a datagram goes by a file.
fn send<C: Connection>(socket: &mut Socket<C>, entry: &[u8]) -> io::Result<Sent> {
    match socket.send(entry) {
        Err(error) if is_too_large(&error) => socket.send_by_file(entry),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{IoSliceMut, Read as _, Seek as _};
    use std::os::unix::net::UnixDatagram;
    use std::time::{Instant, SystemTime};

    use log::Level;
    use rustix::fs::SealFlags;
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

    use super::*;
    use crate::sink::socket::SystemConnection;
    use crate::sink::{BatchBuf, Now, OutputSink};

    #[test]
    fn a_large_entry_goes_by_a_sealed_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let reader = UnixDatagram::bind(&path).unwrap();
        let mut sink = sink::<SystemConnection>(path);
        let mut entries = BatchBuf::new(Now::new(SystemTime::UNIX_EPOCH, Instant::now()));
        let large = format!("MESSAGE={}", "x".repeat(4 << 20));
        entries.push(Level::Info, "MESSAGE=small");
        entries.push(Level::Info, &large);
        sink.write(&entries.as_batch()).unwrap();

        let mut bytes = [0; 64];
        let len = reader.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..len], b"MESSAGE=small\n");
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let got = rustix::net::recvmsg(&reader, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::empty());
        assert_eq!(got.unwrap().bytes, 0);
        let Some(RecvAncillaryMessage::ScmRights(mut files)) = ancillary.drain().next() else { panic!("no file") };
        let mut file = std::fs::File::from(files.next().unwrap());
        assert!(rustix::fs::fcntl_get_seals(&file).unwrap().contains(SealFlags::WRITE | SealFlags::SHRINK));
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, large + "\n");
    }
}
