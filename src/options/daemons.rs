//! The outputs to daemons as they are in a configuration. Plain values.

use std::io;

use log::LevelFilter;
use serde::Deserialize;

use crate::error::InitError;
#[cfg(all(feature = "journald", target_os = "linux"))]
use crate::sink::journald::Journald;
use crate::sink::socket::Destination;
use crate::sink::syslog::{Facility, Syslog, SyslogProtocol};

use super::read::{LevelRange, Size, Time, WordOrTable, given, only_table};

/// The table `[syslog]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SyslogConfig {
    /// `local`, the path of a socket (with a `/`), `udp://host:port` or `tcp://host:port`.
    to: Option<String>,
    level: Option<LevelFilter>,
    levels: Option<LevelRange>,
    filter: Option<String>,
    protocol: Option<SyslogProtocol>,
    facility: Option<Facility>,
    app_name: Option<String>,
    structured_data: Option<String>,
    max_len: Option<Size>,
    backlog: Option<Size>,
    patience: Option<Time>,
}

only_table!(SyslogConfig, "one table of options: write `[syslog]`, in single brackets (TOML)");

impl SyslogConfig {
    pub(super) fn syslog(&self) -> Result<Syslog, InitError> {
        let mut syslog = self.destination()?;
        syslog = given(syslog, self.level, Syslog::level);
        syslog = given(syslog, self.levels, |syslog, levels| syslog.levels(levels.0));
        syslog = given(syslog, self.filter.as_deref(), Syslog::filter);
        syslog = given(syslog, self.protocol, Syslog::protocol);
        syslog = given(syslog, self.facility, Syslog::facility);
        syslog = given(syslog, self.app_name.as_deref(), Syslog::app_name);
        syslog = given(syslog, self.structured_data.as_deref(), Syslog::structured_data);
        syslog = given(syslog, self.max_len.map(|size| size.0), Syslog::max_len);
        syslog = given(syslog, self.backlog.map(|size| size.0), Syslog::backlog);
        Ok(given(syslog, self.patience.map(|time| time.0), Syslog::patience))
    }

    fn destination(&self) -> Result<Syslog, InitError> {
        let to = self.to.as_deref().unwrap_or("local");
        let made = match to.split_once("://") {
            Some(("udp", address)) => Syslog::named(address, Destination::Udp),
            Some(("tcp", address)) => Syslog::named(address, Destination::Tcp),
            None if to == "local" => Ok(Syslog::local()),
            // The name of a machine is not taken for a file.
            None if to.contains('/') => Ok(Syslog::unix(to)),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        };
        made.map_err(|error| bad_destination(to, &error))
    }
}

/// Looks up the name of the machine, if the output has one.
pub(super) fn look_up(syslog: &mut Syslog) -> Result<(), InitError> {
    syslog.look_up().map_err(|(to, error)| bad_destination(&to, &error))
}

fn bad_destination(to: &str, error: &io::Error) -> InitError {
    InitError::Option {
        option: "syslog.to",
        value: format!("`{to}` ({error})"),
        range: "`local`, the path of a socket (with a `/`), `udp://host:port` or `tcp://host:port`",
    }
}

/// The table `[journald]`.
#[cfg(all(feature = "journald", target_os = "linux"))]
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct JournaldConfig {
    level: Option<LevelFilter>,
    levels: Option<LevelRange>,
    filter: Option<String>,
    identifier: Option<String>,
    socket: Option<std::path::PathBuf>,
    backlog: Option<Size>,
    patience: Option<Time>,
}

#[cfg(all(feature = "journald", target_os = "linux"))]
only_table!(JournaldConfig, "one table of options: write `[journald]`, in single brackets (TOML)");

#[cfg(all(feature = "journald", target_os = "linux"))]
impl JournaldConfig {
    pub(super) fn journald(&self) -> Journald {
        let mut journald = Journald::new();
        journald = given(journald, self.level, Journald::level);
        journald = given(journald, self.levels, |journald, levels| journald.levels(levels.0));
        journald = given(journald, self.filter.as_deref(), Journald::filter);
        journald = given(journald, self.identifier.as_deref(), Journald::identifier);
        journald = given(journald, self.socket.as_deref(), Journald::socket);
        journald = given(journald, self.backlog.map(|size| size.0), Journald::backlog);
        given(journald, self.patience.map(|time| time.0), Journald::patience)
    }
}
