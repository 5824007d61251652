//! `Syslog`: an output to a syslog daemon, here or on another machine. The options are a plain
//! value; the sink runs on the writer's thread.

use std::io;
#[cfg(feature = "serde")]
use std::net::IpAddr;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use crate::error::BadOption;
use crate::format::{Format, SyslogOptions};
use crate::wanted::Wanted;

use super::Backlog;
use super::otherwise::Otherwise;
use super::shared_options::{backlog_options, wanted_options};
use super::socket::{Connection, Destination, Socket};

/// Holds a syslog output and its options. Needs the feature `syslog`; on Unix only. Given to
/// [`Builder::syslog`](crate::Builder::syslog).
///
/// | option | default |
/// |---|---|
/// | [`level`](Self::level), [`levels`](Self::levels), [`filter`](Self::filter), [`filter_with`](Self::filter_with) | all that passes the logger's filter |
/// | [`protocol`](Self::protocol) | RFC 5424; RFC 3164 for `/dev/log` |
/// | [`facility`](Self::facility) | [`Facility::User`] |
/// | [`app_name`](Self::app_name) | the name of the program's file |
/// | [`structured_data`](Self::structured_data) | none: key-values are after the message |
/// | [`max_len`](Self::max_len) | 8192 bytes |
/// | [`backlog`](Self::backlog), [`patience`](Self::patience) | 1 MiB, 5 s |
///
/// ERROR has the severity 3 (error), WARN 4 (warning), INFO 6 (informational), DEBUG and TRACE 7
/// (debug). The target is the `MSGID` of RFC 5424, and is before the message of RFC 3164.
///
/// It never waits: while the daemon takes nothing, lines wait in the backlog. When the daemon is
/// gone, the output is suspended, and the newest WARN and ERROR wait; it is connected again by
/// itself and begins with a gap line. A daemon that closes a stream is seen before the next message
/// and within a second at rest. A message counts as written when the system has taken all of it: by
/// UDP no sender learns what a daemon or a network then does with it, and by TCP only when it is
/// too late. By UDP a daemon that is gone is noticed only on this machine, where the system refuses
/// datagrams at once; the first one is lost and counts as written.
///
/// RFC 5424 with octet counting (RFC 6587) is sent by TCP, a datagram for each message (RFC 5426)
/// by UDP. There is no TLS: send to a daemon of this machine, which has it.
///
/// ```no_run
/// use unfazed::{Builder, Facility, LogFile, Syslog};
///
/// Builder::new()
///     .file("app.log")
///     .syslog(Syslog::local().facility(Facility::Daemon).level(log::LevelFilter::Warn))
///     .init()?;
/// # Ok::<(), unfazed::InitError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "give it to `Builder::syslog`"]
pub struct Syslog {
    pub(crate) to: Destination,
    /// The host and port of a configuration, where the host is a name, which is looked up later.
    named: Option<String>,
    pub(crate) wanted: Wanted,
    pub(crate) backlog: Backlog,
    pub(crate) app_name: Option<String>,
    pub(crate) facility: Facility,
    pub(crate) protocol: SyslogProtocol,
    pub(crate) structured_data: Option<String>,
    pub(crate) max_len: u64,
}

/// Decides which form syslog messages have. With the feature `serde` it can be deserialized.
///
/// ```
/// use unfazed::{Syslog, SyslogProtocol};
///
/// let syslog = Syslog::local().protocol(SyslogProtocol::Rfc5424);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize))]
pub enum SyslogProtocol {
    /// With the time to the microsecond, and structured data.
    #[cfg_attr(feature = "serde", serde(rename = "rfc5424"))]
    Rfc5424,
    /// The older "BSD" form, with a time to the second, without year and zone.
    #[cfg_attr(feature = "serde", serde(rename = "rfc3164"))]
    Rfc3164,
}

/// Says which part of the system a message comes from (RFC 5424, table 1). With the feature `serde`
/// it can be deserialized.
///
/// ```
/// let syslog = unfazed::Syslog::local().facility(unfazed::Facility::Daemon);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "lowercase"))]
#[allow(missing_docs)] // they have no meaning but their names
#[non_exhaustive]
pub enum Facility {
    Kern,
    User,
    Mail,
    Daemon,
    Auth,
    Syslog,
    Lpr,
    News,
    Uucp,
    Cron,
    AuthPriv,
    Ftp,
    Local0 = 16,
    Local1,
    Local2,
    Local3,
    Local4,
    Local5,
    Local6,
    Local7,
}

/// The default of `max_len`: what rsyslog takes.
const DEFAULT_MAX_LEN: u64 = 8192;
/// The range of `max_len`: RFC 5424 wants 480 to be taken, and no datagram is longer.
const MAX_LENS: std::ops::RangeInclusive<u64> = 480..=65_000;
/// The socket of the daemon of this machine, to which the C library writes RFC 3164.
const LOCAL: &str = "/dev/log";

impl From<Syslog> for Otherwise {
    fn from(options: Syslog) -> Self {
        Self::new(options)
    }
}

impl Syslog {
    /// Returns the output to the daemon of this machine, by `/dev/log`.
    ///
    /// ```
    /// let syslog = unfazed::Syslog::local();
    /// ```
    pub fn local() -> Self {
        Self::unix(LOCAL)
    }

    /// Returns the output to a local socket: of datagrams, or else a stream, on which each message
    /// is a line. A relative path is that of the directory in which the logger is set up.
    ///
    /// The default is RFC 5424, except for `/dev/log`. Most daemons expect RFC 3164 from a local
    /// socket, as the C library writes there: rsyslog's `imuxsock` parses RFC 5424 only with
    /// `UseSpecialParser="off"`. [`protocol`](Self::protocol) sets the other form.
    ///
    /// ```
    /// use unfazed::{Syslog, SyslogProtocol};
    ///
    /// let syslog = Syslog::unix("/run/app/log.sock").protocol(SyslogProtocol::Rfc3164);
    /// ```
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let protocol = if path == Path::new(LOCAL) { SyslogProtocol::Rfc3164 } else { SyslogProtocol::Rfc5424 };
        Self { protocol, ..Self::to(Destination::Unix(path)) }
    }

    /// Returns the output to another machine by UDP. A name is looked up here, once: the writer
    /// never waits for a name server. Of several addresses each is tried in turn.
    ///
    /// # Errors
    ///
    /// The address cannot be parsed or found.
    ///
    /// ```
    /// let syslog = unfazed::Syslog::udp("127.0.0.1:514")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn udp(address: impl ToSocketAddrs) -> io::Result<Self> {
        Ok(Self::to(Destination::Udp(all(address)?)))
    }

    /// Returns the output to another machine by TCP. A name is looked up here, once: the writer
    /// never waits for a name server. Of several addresses each is tried in turn.
    ///
    /// # Errors
    ///
    /// The address cannot be parsed or found.
    ///
    /// ```
    /// let syslog = unfazed::Syslog::tcp("127.0.0.1:601")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn tcp(address: impl ToSocketAddrs) -> io::Result<Self> {
        Ok(Self::to(Destination::Tcp(all(address)?)))
    }

    /// Returns the output to an address of a configuration. A name has no address yet: the writer
    /// reads a changed configuration, and never waits for a name server.
    ///
    /// # Errors
    ///
    /// It is no `host:port`.
    #[cfg(feature = "serde")]
    pub(crate) fn named(address: &str, to: fn(Vec<SocketAddr>) -> Destination) -> io::Result<Self> {
        if let Ok(known) = address.parse() {
            return Ok(Self::to(to(vec![known])));
        }
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what);
        let (host, port) = address.rsplit_once(':').ok_or_else(|| wrong("no port"))?;
        let port = port.parse().map_err(|_| wrong("invalid port"))?;
        if let Ok(known) = host.parse::<IpAddr>() {
            return Ok(Self::to(to(vec![(known, port).into()])));
        }
        if host.is_empty() || host.contains(|letter: char| letter == ':' || letter.is_whitespace()) {
            return Err(wrong("invalid host"));
        }
        Ok(Self { named: Some(address.to_owned()), ..Self::to(to(Vec::new())) })
    }

    /// Looks up the name of a configuration. An error has the destination as it is written there.
    #[cfg(feature = "serde")]
    pub(crate) fn look_up(&mut self) -> Result<(), (String, io::Error)> {
        let Some(name) = &self.named else { return Ok(()) };
        let (protocol, addresses) = match &mut self.to {
            Destination::Unix(_) => return Ok(()),
            Destination::Udp(addresses) => ("udp", addresses),
            Destination::Tcp(addresses) => ("tcp", addresses),
        };
        *addresses = all(name).map_err(|error| (format!("{protocol}://{name}"), error))?;
        Ok(())
    }

    fn to(to: Destination) -> Self {
        Self {
            to,
            named: None,
            wanted: Wanted::EVERYTHING,
            backlog: Backlog::default(),
            app_name: None,
            facility: Facility::User,
            protocol: SyslogProtocol::Rfc5424,
            structured_data: None,
            max_len: DEFAULT_MAX_LEN,
        }
    }

    wanted_options!("unfazed::Syslog::local()");

    /// Sets the form of the messages. Default: RFC 5424; RFC 3164 for [`local`](Self::local) and
    /// `/dev/log`, as the C library writes there.
    ///
    /// ```
    /// use unfazed::{Syslog, SyslogProtocol};
    ///
    /// let syslog = Syslog::local().protocol(SyslogProtocol::Rfc5424);
    /// ```
    pub fn protocol(mut self, protocol: SyslogProtocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Sets the facility. Default: [`Facility::User`].
    ///
    /// ```
    /// use unfazed::{Facility, Syslog};
    ///
    /// let syslog = Syslog::local().facility(Facility::Local3);
    /// ```
    pub fn facility(mut self, facility: Facility) -> Self {
        self.facility = facility;
        self
    }

    /// Sets the name of the program. Default: the name of its file. Characters that are not
    /// printable ASCII become `_`. At most 48 are written, 32 in RFC 3164.
    ///
    /// ```
    /// let syslog = unfazed::Syslog::local().app_name("shop");
    /// ```
    pub fn app_name(mut self, name: impl Into<String>) -> Self {
        self.app_name = Some(name.into());
        self
    }

    /// Writes key-values and constant fields as structured data under this name, which RFC 5424
    /// wants to be of the form `name@enterprise-number`. Default: they are after the message, as
    /// in text. No effect in RFC 3164.
    ///
    /// Where they would take more than half of [`max_len`](Self::max_len), they are after the
    /// message, too.
    ///
    /// ```
    /// let syslog = unfazed::Syslog::local()
    ///     .protocol(unfazed::SyslogProtocol::Rfc5424)
    ///     .structured_data("shop@32473");
    /// ```
    pub fn structured_data(mut self, id: impl Into<String>) -> Self {
        self.structured_data = Some(id.into());
        self
    }

    /// Sets the longest message, in bytes; a longer one is cut and marked. Default: 8192; from 480
    /// to 65 000.
    ///
    /// ```
    /// let syslog = unfazed::Syslog::local().max_len(2048);
    /// ```
    pub fn max_len(mut self, bytes: u64) -> Self {
        self.max_len = bytes;
        self
    }

    backlog_options!("unfazed::Syslog::local()", backlog);

    /// Checks that the options are in their ranges.
    pub(crate) fn check(&self) -> Result<(), BadOption> {
        const NAMES: &str = "1 to 32 printable characters of ASCII without `=`, `]`, `\"`";

        if !MAX_LENS.contains(&self.max_len) {
            return Err(BadOption::new("max_len", self.max_len.to_string(), "480 to 65000 bytes"));
        }
        self.backlog.check()?;
        let is_name = |id: &str| {
            let fits = (1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
            fits && !id.contains(['=', ']', '"'])
        };
        match &self.structured_data {
            Some(id) if !is_name(id) => Err(BadOption::new("structured_data", format!("`{id}`"), NAMES)),
            _ => Ok(()),
        }
    }

    /// Returns the name that events and statistics have for the output.
    pub(crate) fn name(&self) -> String {
        match &self.to {
            Destination::Unix(_) => "syslog".to_owned(),
            Destination::Udp(addresses) => format!("syslog udp {}", self.address(addresses)),
            Destination::Tcp(addresses) => format!("syslog tcp {}", self.address(addresses)),
        }
    }

    /// Returns the address that names the output: as a configuration has it, or the first one.
    fn address(&self, addresses: &[SocketAddr]) -> String {
        let first = || addresses.first().map(SocketAddr::to_string).unwrap_or_default();
        self.named.clone().unwrap_or_else(first)
    }

    /// Returns the format of its messages, with the name of the program and of this machine.
    pub(crate) fn format(&self, program: Option<String>, host: Option<String>) -> Format {
        Format::syslog(SyslogOptions {
            facility: self.facility as u8,
            app_name: self.app_name.clone().or(program).unwrap_or_default(),
            host,
            is_rfc_3164: self.protocol == SyslogProtocol::Rfc3164,
            is_local: matches!(self.to, Destination::Unix(_)),
            sd_id: self.structured_data.clone(),
            max_len: usize::try_from(self.max_len).unwrap_or(usize::MAX),
        })
    }
}

fn all(address: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    let addresses: Vec<_> = address.to_socket_addrs()?.collect();
    if addresses.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(addresses) }
}

/// Makes the sink of a [`Syslog`].
pub(crate) fn sink<C: Connection>(to: Destination) -> Socket<C> {
    Socket::new(to, |socket, line| socket.send(line.strip_suffix(b"\n").unwrap_or(line)))
}

#[cfg(test)]
mod tests {
    use crate::{Builder, InitError};

    use super::*;

    fn error(syslog: Syslog) -> String {
        match Builder::new().syslog(syslog).build() {
            Err(error @ InitError::Option { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_option_that_cannot_be_is_an_error_that_names_its_range() {
        assert!(error(Syslog::local().max_len(479)).contains("480 to 65000"));
        assert!(error(Syslog::local().max_len(65_001)).contains("`max_len`"));
        assert!(error(Syslog::local().structured_data("a]b")).contains("`structured_data`"));
        assert!(error(Syslog::local().structured_data("")).contains("1 to 32"));
        assert!(Syslog::udp("nowhere").is_err());
        let none: &[SocketAddr] = &[];
        assert!(Syslog::udp(none).is_err() && Syslog::tcp(none).is_err());
    }

    #[test]
    fn the_socket_of_the_c_library_gets_what_that_writes() {
        assert_eq!(Syslog::unix("/dev/log").protocol, SyslogProtocol::Rfc3164);
        assert_eq!(Syslog::local().protocol, SyslogProtocol::Rfc3164);
        assert_eq!(Syslog::unix("/run/app/log.sock").protocol, SyslogProtocol::Rfc5424);
    }
}
