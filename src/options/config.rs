//! `Config`: every option of the builder that can be in a file, through serde. Runs on the
//! thread that sets the logger up.
//!
//! A configuration holds the arguments of the builder's methods; the builder itself decides which
//! are valid.

use std::fmt;
use std::path::PathBuf;

use log::LevelFilter;
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use crate::builder::{Builder, Watched};
use crate::error::InitError;
use crate::format::Format;
use crate::queue::Overflow;
use crate::sink::console::{Color, Console};
use crate::sink::log_file::{Fsync, LogFile, WhenLow};
use crate::sink::otherwise::Otherwise;
use crate::sink::rotation::Rotation;

#[cfg(all(feature = "journald", target_os = "linux"))]
use super::daemons::JournaldConfig;
#[cfg(all(feature = "syslog", unix))]
use super::daemons::SyslogConfig;
use super::read::{Account, Count, LevelRange, Mode, Size, Time, WordOr, WordOrTable, given, only_table};
use super::values::{FilePath, RateLimitConfig};

/// Holds the options of a [`Builder`] as they are in a file: TOML, JSON, or whatever else serde
/// reads. Needs the feature `serde`.
///
/// Most keys are the names of the methods of [`Builder`], [`LogFile`] and [`Console`]; what is left
/// out has the method's default. A key that does not exist is an error that names it. What only
/// code can give (a sink, a callback, a custom format) is added to the builder afterwards.
///
/// ```toml
/// level = "info"
/// filter = "hyper=warn"
/// filter_env = "RUST_LOG"
/// format = "text"                      # or json, logfmt, otel, ecs, gelf, google_cloud
/// # or a table: kind or pattern, fields, time, palette, local_time, without_level,
/// # without_target, short_target, thread, location, multiline, safe_integers, color_lines
/// capacity = 8192
/// overflow = "drop_newest"             # or drop_oldest, block, { block_at_most = "50ms" }
/// rate_limit = { records = 100, per = "1m" }
/// shutdown_timeout = "2s"
/// log_panics = true
/// require_outputs = false
/// flush_on_crash = false
///
/// [[file]]                             # or file = ["app.log"]
/// path = "/var/log/app/app.json"
/// level = "debug"                      # or levels = "warn..=info": without error
/// filter = "shop=info,sqlx=warn"        # for this output alone
/// format = { kind = "json", fields = { service = "shop" } }
/// min_free_space = "500 MiB"           # or a number of bytes
/// # every: minute, hour, day, week, month, or a time as 6h
/// rotation = { every = "day", size = "100 MiB", local_time = true, on_start = false }
/// max_files = 30
/// max_total_size = "1 GiB"
/// max_age = "30days"
/// when_low = "stop"                    # or delete_oldest
/// error_reserve = "64 KiB"
/// retain = "64 KiB"
/// backlog = "1 MiB"                    # of a FIFO
/// patience = "5s"
/// fsync = "never"                      # or after_errors, { every = "5s" }
/// mode = "0640"
/// owner = "www-data"                   # or a number
/// group = "adm"
/// symlink = "/var/log/current.json"
/// compress = true                      # with the feature gzip
/// otherwise = "stderr"                 # or stdout, a path, { syslog = { to = "local" } }
///
/// [stderr]                             # or stdout
/// level = "warn"                       # or levels
/// filter = "info,hyper=off"
/// format = { kind = "text", thread = true, time = "%H:%M:%S", local_time = true }
/// color = "auto"                       # or always, never
/// backlog = "1 MiB"
/// patience = "5s"
/// otherwise = "other.log"
///
/// [syslog]                             # with the feature syslog
/// to = "udp://10.0.0.1:514"            # or local, /path/of/a/socket, tcp://host:port
/// level = "info"                       # or levels
/// filter = "shop=info"
/// facility = "local3"
/// protocol = "rfc5424"                 # or rfc3164
/// app_name = "shop"
/// structured_data = "kv@32473"
/// max_len = "8 KiB"
/// backlog = "1 MiB"
/// patience = "5s"
///
/// [journald]                           # with the feature journald
/// level = "info"                       # or levels
/// filter = "shop=info"
/// identifier = "shop"
/// socket = "/run/systemd/journal/socket"
/// backlog = "1 MiB"
/// patience = "5s"
/// ```
///
/// Times are written as in `2s`, `500ms`, `1h 30m`, `30d`; sizes as a number of bytes or with a
/// unit: `64 KiB`, `1.5 GiB`, `10MB` (a letter alone is binary: `100M`). Levels may be written in
/// any case. A path is taken as it is: `~` and `$HOME` are errors.
///
/// [`watch`](Self::watch) follows the file while the logger runs. By hand, the
/// [`directives`](Self::directives) of a new file are what
/// [`Handle::set_filter`](crate::Handle::set_filter) takes.
///
/// ```
/// let text = r#"{ "file": [{ "path": "app.log" }], "filter": "hyper=warn" }"#;
/// let config: unfazed::Config = serde_json::from_str(text)?;
/// # let _ = || -> Result<(), Box<dyn std::error::Error>> {
/// let handle = config.builder()?.init()?;
///
/// let text = r#"{ "level": "debug", "filter": "hyper=info" }"#;
/// let changed: unfazed::Config = serde_json::from_str(text)?;
/// handle.set_filter(&changed.directives())?;
/// # Ok(()) };
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[doc(alias = "specfile")]
pub struct Config {
    level: Option<LevelFilter>,
    filter: Option<String>,
    filter_env: Option<String>,
    file: Files,
    stderr: Option<WordOr<ConsoleConfig>>,
    stdout: Option<WordOr<ConsoleConfig>>,
    #[cfg(all(feature = "syslog", unix))]
    syslog: Option<WordOr<SyslogConfig>>,
    #[cfg(all(feature = "journald", target_os = "linux"))]
    journald: Option<WordOr<JournaldConfig>>,
    format: Option<Format>,
    capacity: Option<Count>,
    overflow: Option<Overflow>,
    rate_limit: Option<WordOr<RateLimitConfig>>,
    shutdown_timeout: Option<Time>,
    log_panics: Option<bool>,
    require_outputs: Option<bool>,
    flush_on_crash: Option<bool>,
    #[serde(skip)]
    watched: Option<Watched>,
}

impl Config {
    /// Returns a builder with these options, to which code may add others.
    ///
    /// # Errors
    ///
    /// A format that does not exist or whose feature is missing, or the name of a machine that
    /// cannot be found. Ranges are checked by [`Builder::build`] and [`Builder::init`]. An option
    /// that its format has no use for changes nothing, as with the method of the same name.
    ///
    /// ```no_run
    /// use unfazed::Config;
    ///
    /// let config: Config = toml::from_str(&std::fs::read_to_string("logging.toml")?)?;
    /// let alarm = |event: &unfazed::Event| eprintln!("{event}");
    /// config.builder()?.on_event(alarm).init()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder(&self) -> Result<Builder, InitError> {
        #[cfg_attr(not(all(feature = "syslog", unix)), allow(unused_mut))]
        let mut builder = self.builder_without_addresses()?;
        #[cfg(all(feature = "syslog", unix))]
        builder.syslogs().try_for_each(super::daemons::look_up)?;
        Ok(builder)
    }

    /// Returns the builder without having looked up the names of machines.
    fn builder_without_addresses(&self) -> Result<Builder, InitError> {
        let mut builder = Builder::new();
        builder = given(builder, self.level, Builder::level);
        builder = given(builder, self.filter.as_deref(), Builder::filter);
        builder = given(builder, self.filter_env.as_deref(), Builder::filter_env);
        for file in &self.file.0 {
            builder = builder.file(file.log_file()?);
        }
        for (console, config) in [(Console::stderr(), &self.stderr), (Console::stdout(), &self.stdout)] {
            if let Some(WordOr(config)) = config {
                builder = builder.console(config.console(console)?);
            }
        }
        #[cfg(all(feature = "syslog", unix))]
        if let Some(WordOr(config)) = &self.syslog {
            builder = builder.syslog(config.syslog()?);
        }
        #[cfg(all(feature = "journald", target_os = "linux"))]
        if let Some(WordOr(config)) = &self.journald {
            builder = builder.journald(config.journald());
        }
        builder = given(builder, self.format.clone(), Builder::format);
        builder = given(builder, self.capacity.map(|records| records.0), Builder::capacity);
        builder = given(builder, self.overflow, Builder::overflow);
        builder = given(builder, self.rate_limit.map(|limit| limit.0), |builder, RateLimitConfig { records, per }| {
            // Nothing logs more than that in the longest interval.
            builder.rate_limit(u32::try_from(records.0).unwrap_or(u32::MAX), per.0)
        });
        builder = given(builder, self.shutdown_timeout.map(|time| time.0), Builder::shutdown_timeout);
        builder = given(builder, self.log_panics, Builder::log_panics);
        builder = given(builder, self.require_outputs, Builder::require_outputs);
        builder = given(builder, self.flush_on_crash, Builder::flush_on_crash);
        Ok(given(builder, self.watched.clone(), |builder, watched| {
            let outputs = builder.outputs();
            builder.watched(watched.with_outputs(outputs))
        }))
    }

    /// Follows a file, mostly the one that these options come from: when it has changed, `read`
    /// makes a configuration of its text. Level, filter, rate limit, and the levels and filters of
    /// the outputs follow it; outputs are neither opened nor closed nor moved. The name of a syslog
    /// daemon's machine is looked up by [`builder`](Self::builder) alone, and not again.
    ///
    /// A bad file changes nothing, and is reported by an event and a line. [`Builder::watch`] says
    /// more.
    ///
    /// ```no_run
    /// use unfazed::Config;
    ///
    /// let read = |text: &str| toml::from_str::<Config>(text);
    /// let config = read(&std::fs::read_to_string("logging.toml")?)?;
    /// config.watch("logging.toml", read).builder()?.init()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watch<E>(
        mut self,
        path: impl Into<PathBuf>,
        read: impl Fn(&str) -> Result<Config, E> + Send + Sync + 'static,
    ) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let read = move |text: &str| -> Result<Builder, Box<dyn std::error::Error + Send + Sync>> {
            Ok(read(text).map_err(Into::into)?.builder_without_addresses()?)
        };
        self.watched = Some(Watched::new(path, read));
        self
    }

    /// Returns level and filter as one text of directives: `info,hyper=warn`. It does not contain
    /// the environment.
    ///
    /// ```
    /// let config: unfazed::Config = toml::from_str("filter = 'hyper=warn'")?;
    /// assert_eq!(config.directives(), "info,hyper=warn");
    /// # Ok::<(), toml::de::Error>(())
    /// ```
    pub fn directives(&self) -> String {
        let level = self.level.unwrap_or(LevelFilter::Info).to_string().to_lowercase();
        match self.filter.as_deref() {
            None | Some("") => level,
            // Only a pattern.
            Some(filter) if filter.starts_with('/') => level + filter,
            Some(filter) => format!("{level},{filter}"),
        }
    }
}

/// The files of a configuration. One file without its list is a slip that TOML invites.
#[derive(Clone, Debug, Default)]
struct Files(Vec<FileConfig>);

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Files;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of files: write `[[file]]` before the options of each (TOML), or a list of paths")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut files: A) -> Result<Files, A::Error> {
                let mut list = Vec::new();
                while let Some(file) = files.next_element::<WordOr<FileConfig>>()? {
                    list.push(file.0);
                }
                Ok(Files(list))
            }
        }

        deserializer.deserialize_any(List)
    }
}

/// The table of one file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileConfig {
    path: FilePath,
    level: Option<LevelFilter>,
    levels: Option<LevelRange>,
    filter: Option<String>,
    format: Option<Format>,
    min_free_space: Option<Size>,
    fsync: Option<Fsync>,
    rotation: Option<Rotation>,
    max_files: Option<Count>,
    max_total_size: Option<Size>,
    max_age: Option<Time>,
    when_low: Option<WhenLow>,
    error_reserve: Option<Size>,
    retain: Option<Size>,
    backlog: Option<Size>,
    patience: Option<Time>,
    mode: Option<Mode>,
    owner: Option<Account>,
    group: Option<Account>,
    symlink: Option<FilePath>,
    compress: Option<bool>,
    otherwise: Option<WordOr<OtherwiseConfig>>,
}

impl FileConfig {
    fn log_file(&self) -> Result<LogFile, InitError> {
        let mut file = LogFile::new(&self.path.0);
        file = given(file, self.level, LogFile::level);
        file = given(file, self.levels, |file, levels| file.levels(levels.0));
        file = given(file, self.filter.as_deref(), LogFile::filter);
        file = given(file, self.format.clone(), LogFile::format);
        file = given(file, self.min_free_space.map(|size| size.0), LogFile::min_free_space);
        file = given(file, self.fsync, LogFile::fsync);
        file = given(file, self.rotation, LogFile::rotation);
        file = given(file, self.max_files.map(|files| files.0), LogFile::max_files);
        file = given(file, self.max_total_size.map(|size| size.0), LogFile::max_total_size);
        file = given(file, self.max_age.map(|time| time.0), LogFile::max_age);
        file = given(file, self.when_low, LogFile::when_low);
        file = given(file, self.error_reserve.map(|size| size.0), LogFile::error_reserve);
        file = given(file, self.retain.map(|size| size.0), LogFile::retain);
        file = given(file, self.backlog.map(|size| size.0), LogFile::backlog);
        file = given(file, self.patience.map(|time| time.0), LogFile::patience);
        file = given(file, self.mode.map(|mode| mode.0), LogFile::mode);
        file = given(file, self.owner.as_ref().map(|owner| &owner.0), LogFile::owner);
        file = given(file, self.group.as_ref().map(|group| &group.0), LogFile::group);
        file = given(file, self.symlink.as_ref().map(|link| &link.0), LogFile::symlink);
        if let Some(otherwise) = &self.otherwise {
            file = file.otherwise(otherwise.0.output()?);
        }
        #[cfg(feature = "gzip")]
        return Ok(given(file, self.compress, LogFile::compress));
        #[cfg(not(feature = "gzip"))]
        match self.compress {
            Some(true) => Err(InitError::Option {
                option: "compress",
                value: "true".into(),
                range: "false, without the feature `gzip`",
            }),
            _ => Ok(file),
        }
    }
}

/// A path alone is a file with the defaults.
impl WordOrTable for FileConfig {
    const EXPECTED: &'static str = "a path, or a table with one";
    type Table = Self;

    fn from_word(word: &str) -> Result<Self, Option<String>> {
        Ok(Self { path: FilePath::read(word)?, ..Self::default() })
    }

    fn from_table(table: Self) -> Self {
        table
    }
}

/// The table `[stderr]` or `[stdout]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ConsoleConfig {
    level: Option<LevelFilter>,
    levels: Option<LevelRange>,
    filter: Option<String>,
    format: Option<Format>,
    color: Option<Color>,
    backlog: Option<Size>,
    patience: Option<Time>,
    otherwise: Option<WordOr<OtherwiseConfig>>,
}

// A list of them is a slip that `[[file]]` invites.
only_table!(ConsoleConfig, "one table of options: write `[stderr]` or `[stdout]`, in single brackets (TOML)");

impl ConsoleConfig {
    fn console(&self, console: Console) -> Result<Console, InitError> {
        let console = given(console, self.level, Console::level);
        let console = given(console, self.levels, |console, levels| console.levels(levels.0));
        let console = given(console, self.filter.as_deref(), Console::filter);
        let console = given(console, self.format.clone(), Console::format);
        let console = given(console, self.color, Console::color);
        let console = given(console, self.backlog.map(|size| size.0), Console::backlog);
        let console = given(console, self.patience.map(|time| time.0), Console::patience);
        Ok(match &self.otherwise {
            Some(otherwise) => console.otherwise(otherwise.0.output()?),
            None => console,
        })
    }
}

/// The output that stands in for another one: a word, or a table with one key.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "OtherwiseTable")]
enum OtherwiseConfig {
    File(Box<FileConfig>),
    Stderr(Box<ConsoleConfig>),
    Stdout(Box<ConsoleConfig>),
    #[cfg(all(feature = "syslog", unix))]
    Syslog(Box<SyslogConfig>),
    #[cfg(all(feature = "journald", target_os = "linux"))]
    Journald(Box<JournaldConfig>),
}

/// The table of such an output: one of these keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OtherwiseTable {
    file: Option<Box<FileConfig>>,
    stderr: Option<Box<ConsoleConfig>>,
    stdout: Option<Box<ConsoleConfig>>,
    #[cfg(all(feature = "syslog", unix))]
    syslog: Option<Box<SyslogConfig>>,
    #[cfg(all(feature = "journald", target_os = "linux"))]
    journald: Option<Box<JournaldConfig>>,
}

impl TryFrom<OtherwiseTable> for OtherwiseConfig {
    type Error = String;

    fn try_from(table: OtherwiseTable) -> Result<Self, String> {
        let mut outputs = Vec::new();
        outputs.extend(table.file.map(Self::File));
        outputs.extend(table.stderr.map(Self::Stderr));
        outputs.extend(table.stdout.map(Self::Stdout));
        #[cfg(all(feature = "syslog", unix))]
        outputs.extend(table.syslog.map(Self::Syslog));
        #[cfg(all(feature = "journald", target_os = "linux"))]
        outputs.extend(table.journald.map(Self::Journald));
        match (outputs.pop(), outputs.is_empty()) {
            (Some(output), true) => Ok(output),
            _ => Err(format!("expected one output: {}", Self::EXPECTED)),
        }
    }
}

impl OtherwiseConfig {
    fn output(&self) -> Result<Otherwise, InitError> {
        Ok(match self {
            Self::File(file) => file.log_file()?.into(),
            Self::Stderr(config) => config.console(Console::stderr())?.into(),
            Self::Stdout(config) => config.console(Console::stdout())?.into(),
            #[cfg(all(feature = "syslog", unix))]
            Self::Syslog(config) => config.syslog()?.into(),
            #[cfg(all(feature = "journald", target_os = "linux"))]
            Self::Journald(config) => config.journald().into(),
        })
    }
}

impl WordOrTable for OtherwiseConfig {
    const EXPECTED: &'static str =
        "`stderr`, `stdout`, a path, or a table with `file`, `stderr`, `stdout`, `syslog` or `journald`";
    type Table = Self;

    fn from_word(word: &str) -> Result<Self, Option<String>> {
        Ok(match word {
            "stderr" => Self::Stderr(Box::default()),
            "stdout" => Self::Stdout(Box::default()),
            path => Self::File(FileConfig::from_word(path)?.into()),
        })
    }

    fn from_table(table: Self) -> Self {
        table
    }
}
