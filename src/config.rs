//! `Config`: every option of the builder that can stand in a file, through serde. Runs on the thread that sets the logger up.
//!
//! A configuration says what the builder's methods are given; what is possible, the builder itself decides.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor};

use crate::builder::Builder;
use crate::error::InitError;
use crate::format::Format;
use crate::queue::Overflow;
use crate::sink::console::{Color, Console};
use crate::sink::log_file::{Fsync, LogFile, WhenLow};
use crate::sink::rotation::Rotation;

/// The options of a [`Builder`] as they stand in a file: TOML, JSON, or whatever else serde reads. Needs the feature `serde`.
///
/// The keys are the names of the methods of [`Builder`], [`LogFile`] and [`Console`]; what is left out has the method's default. A key
/// that does not exist is an error that names it. What only code can give (a sink, a callback, a custom format) is added to the
/// builder afterwards.
///
/// ```toml
/// level = "info"
/// filter = "hyper=warn"
/// filter_env = "RUST_LOG"
/// format = "text"                      # or json, logfmt, otel, ecs, gelf, google_cloud
/// capacity = 8192
/// overflow = "drop_newest"             # or drop_oldest, block, { block_at_most = "50ms" }
/// rate_limit = { records = 100, per = "1m" }
/// shutdown_timeout = "2s"
/// log_panics = true
///
/// [[file]]
/// path = "/var/log/app/app.json"
/// level = "debug"
/// format = { kind = "json", fields = { service = "shop" } }
/// min_free_space = "500 MiB"           # or a number of bytes
/// # every: minute, hour, day, week or month
/// rotation = { every = "day", size = "100 MiB", local_time = true, on_start = false }
/// max_files = 30
/// max_total_size = "1 GiB"
/// max_age = "30days"
/// when_low = "stop"                    # or delete_oldest
/// error_reserve = "64 KiB"
/// retain = "64 KiB"
/// fsync = "never"                      # or after_errors, { every = "5s" }
/// mode = "0640"
/// symlink = "/var/log/current.json"
/// compress = true                      # with the feature gzip
///
/// [stderr]                             # or stdout
/// level = "warn"
/// format = { kind = "text", thread = true, place = true, multiline = true, local_time = true }
/// color = "auto"                       # or always, never
/// ```
///
/// Times are written as in `2s`, `500ms`, `1h 30m`, `30days`; sizes as a number of bytes or with `KiB`, `MiB`, `GiB`.
///
/// When the file has changed, [`directives`](Self::directives) of the new one are what
/// [`Handle::set_filter`](crate::Handle::set_filter) takes: no restart is needed for them.
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
pub struct Config {
    level: Option<LevelFilter>,
    filter: Option<String>,
    filter_env: Option<String>,
    file: Vec<WordOr<FileConfig>>,
    stderr: Option<ConsoleConfig>,
    stdout: Option<ConsoleConfig>,
    format: Option<WordOr<FormatConfig>>,
    capacity: Option<usize>,
    overflow: Option<WordOr<OverflowConfig>>,
    rate_limit: Option<RateLimitConfig>,
    shutdown_timeout: Option<Time>,
    log_panics: Option<bool>,
}

impl Config {
    /// A builder with these options, to which code may add others.
    ///
    /// # Errors
    ///
    /// A format that does not exist or whose feature is missing. Ranges are checked by [`Builder::build`] and [`Builder::init`]. An option
    /// that its format has no use for changes nothing, as with the method of the same name.
    pub fn builder(&self) -> Result<Builder, InitError> {
        let mut builder = Builder::new();
        builder = given(builder, self.level, Builder::level);
        builder = given(builder, self.filter.as_deref(), Builder::filter);
        builder = given(builder, self.filter_env.as_deref(), Builder::filter_env);
        for file in &self.file {
            builder = builder.file(file.0.log_file()?);
        }
        for (console, config) in [(Console::stderr(), &self.stderr), (Console::stdout(), &self.stdout)] {
            if let Some(config) = config {
                builder = builder.console(config.console(console)?);
            }
        }
        builder = given(builder, format(&self.format)?, Builder::format);
        builder = given(builder, self.capacity, Builder::capacity);
        builder = given(builder, self.overflow.as_ref().map(|overflow| overflow.0.0), Builder::overflow);
        builder =
            given(builder, self.rate_limit.as_ref(), |builder, limit| builder.rate_limit(limit.records, limit.per.0));
        builder = given(builder, self.shutdown_timeout.map(|time| time.0), Builder::shutdown_timeout);
        Ok(given(builder, self.log_panics, Builder::log_panics))
    }

    /// Level and filter as one text of directives: `info,hyper=warn`. What the environment says is not in it.
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

/// Gives an option to what takes it, if there is one.
fn given<T, V>(target: T, value: Option<V>, set: impl FnOnce(T, V) -> T) -> T {
    match value {
        Some(value) => set(target, value),
        None => target,
    }
}

fn format(config: &Option<WordOr<FormatConfig>>) -> Result<Option<Format>, InitError> {
    config.as_ref().map(|config| config.0.format()).transpose()
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileConfig {
    path: PathBuf,
    level: Option<LevelFilter>,
    format: Option<WordOr<FormatConfig>>,
    min_free_space: Option<Size>,
    fsync: Option<WordOr<FsyncConfig>>,
    rotation: Option<WordOr<RotationConfig>>,
    max_files: Option<usize>,
    max_total_size: Option<Size>,
    max_age: Option<Time>,
    when_low: Option<WhenLowConfig>,
    error_reserve: Option<Size>,
    retain: Option<Size>,
    mode: Option<Mode>,
    symlink: Option<PathBuf>,
    compress: Option<bool>,
}

impl FileConfig {
    fn log_file(&self) -> Result<LogFile, InitError> {
        let mut file = LogFile::new(&self.path);
        file = given(file, self.level, LogFile::level);
        file = given(file, format(&self.format)?, LogFile::format);
        file = given(file, self.min_free_space.map(|size| size.0), LogFile::min_free_space);
        file = given(file, self.fsync.as_ref().map(|fsync| fsync.0.0), LogFile::fsync);
        file = given(file, self.rotation.as_ref().map(|rotation| rotation.0.rotation()), LogFile::rotation);
        file = given(file, self.max_files, LogFile::max_files);
        file = given(file, self.max_total_size.map(|size| size.0), LogFile::max_total_size);
        file = given(file, self.max_age.map(|time| time.0), LogFile::max_age);
        file = given(file, self.when_low.map(WhenLow::from), LogFile::when_low);
        file = given(file, self.error_reserve.map(|size| size.0), LogFile::error_reserve);
        file = given(file, self.retain.map(|size| size.0), LogFile::retain);
        file = given(file, self.mode.map(|mode| mode.0), LogFile::mode);
        file = given(file, self.symlink.as_ref(), LogFile::symlink);
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
impl FromWord for FileConfig {
    const EXPECTED: &'static str = "a path, or a table with one";

    fn from_word(word: &str) -> Option<Self> {
        Some(Self { path: word.into(), ..Self::default() })
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ConsoleConfig {
    level: Option<LevelFilter>,
    format: Option<WordOr<FormatConfig>>,
    color: Option<ColorConfig>,
}

impl ConsoleConfig {
    fn console(&self, console: Console) -> Result<Console, InitError> {
        let console = given(console, self.level, Console::level);
        let console = given(console, format(&self.format)?, Console::format);
        Ok(given(console, self.color.map(Color::from), Console::color))
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FormatConfig {
    kind: String,
    #[serde(default)]
    local_time: bool,
    #[serde(default)]
    thread: bool,
    #[serde(default)]
    place: bool,
    #[serde(default)]
    multiline: bool,
    #[serde(default)]
    fields: BTreeMap<String, Field>,
}

impl FormatConfig {
    fn format(&self) -> Result<Format, InitError> {
        let mut format = match self.kind.as_str() {
            "text" => Format::text(),
            "logfmt" => Format::logfmt(),
            #[cfg(feature = "json")]
            "json" => Format::json(),
            #[cfg(feature = "json")]
            "otel" => Format::otel(),
            #[cfg(feature = "json")]
            "ecs" => Format::ecs(),
            #[cfg(feature = "json")]
            "gelf" => Format::gelf(),
            #[cfg(feature = "json")]
            "google_cloud" => Format::google_cloud(),
            other => {
                let range = if cfg!(feature = "json") {
                    "text, logfmt, json, otel, ecs, gelf or google_cloud"
                } else {
                    "text or logfmt; the others need the feature `json`"
                };
                return Err(InitError::Option { option: "format", value: format!("`{other}`"), range });
            }
        };
        for (wanted, set) in [
            (self.local_time, Format::local_time as fn(Format) -> Format),
            (self.thread, Format::thread),
            (self.place, Format::place),
            (self.multiline, Format::multiline),
        ] {
            format = if wanted { set(format) } else { format };
        }
        for (key, field) in &self.fields {
            format = match field {
                Field::Bool(value) => format.field(key, value),
                Field::Integer(value) => format.field(key, value),
                Field::Float(value) => format.field(key, value),
                Field::Text(value) => format.field(key, value.as_str()),
            };
        }
        Ok(format)
    }
}

impl FromWord for FormatConfig {
    const EXPECTED: &'static str = "the name of a format, or a table with its `kind`";

    fn from_word(word: &str) -> Option<Self> {
        Some(Self { kind: word.to_owned(), ..Self::default() })
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a text, a number or a boolean")]
enum Field {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RateLimitConfig {
    records: u32,
    per: Time,
}

#[derive(Clone, Debug)]
struct OverflowConfig(Overflow);

impl<'de> Deserialize<'de> for OverflowConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            block_at_most: Time,
        }
        Table::deserialize(deserializer).map(|table| Self(Overflow::BlockAtMost(table.block_at_most.0)))
    }
}

impl FromWord for OverflowConfig {
    const EXPECTED: &'static str = "`drop_newest`, `drop_oldest`, `block` or a table with `block_at_most`";

    fn from_word(word: &str) -> Option<Self> {
        match word {
            "drop_newest" => Some(Self(Overflow::DropNewest)),
            "drop_oldest" => Some(Self(Overflow::DropOldest)),
            "block" => Some(Self(Overflow::Block)),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
struct FsyncConfig(Fsync);

impl<'de> Deserialize<'de> for FsyncConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            every: Time,
        }
        Table::deserialize(deserializer).map(|table| Self(Fsync::Every(table.every.0)))
    }
}

impl FromWord for FsyncConfig {
    const EXPECTED: &'static str = "`never`, `after_errors` or a table with `every`";

    fn from_word(word: &str) -> Option<Self> {
        match word {
            "never" => Some(Self(Fsync::Never)),
            "after_errors" => Some(Self(Fsync::AfterErrors)),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RotationConfig {
    every: Option<Every>,
    size: Option<Size>,
    local_time: bool,
    on_start: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Every {
    Minute,
    Hour,
    Day,
    Week,
    Month,
}

impl RotationConfig {
    fn rotation(&self) -> Rotation {
        let mut rotation = match self.every {
            None => Rotation::never(),
            Some(Every::Minute) => Rotation::minutely(),
            Some(Every::Hour) => Rotation::hourly(),
            Some(Every::Day) => Rotation::daily(),
            Some(Every::Week) => Rotation::weekly(),
            Some(Every::Month) => Rotation::monthly(),
        };
        rotation = given(rotation, self.size.map(|size| size.0), Rotation::or_size);
        rotation = if self.local_time { rotation.local_time() } else { rotation };
        if self.on_start { rotation.on_start() } else { rotation }
    }
}

impl FromWord for RotationConfig {
    const EXPECTED: &'static str = "`never`, `minutely`, `hourly`, `daily`, `weekly`, `monthly` or a table with `every`, `size`, `local_time`, `on_start`";

    fn from_word(word: &str) -> Option<Self> {
        let every = match word {
            "never" => None,
            "minutely" => Some(Every::Minute),
            "hourly" => Some(Every::Hour),
            "daily" => Some(Every::Day),
            "weekly" => Some(Every::Week),
            "monthly" => Some(Every::Month),
            _ => return None,
        };
        Some(Self { every, ..Self::default() })
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WhenLowConfig {
    Stop,
    DeleteOldest,
}

impl From<WhenLowConfig> for WhenLow {
    fn from(config: WhenLowConfig) -> Self {
        match config {
            WhenLowConfig::Stop => WhenLow::Stop,
            WhenLowConfig::DeleteOldest => WhenLow::DeleteOldest,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ColorConfig {
    Auto,
    Always,
    Never,
}

impl From<ColorConfig> for Color {
    fn from(config: ColorConfig) -> Self {
        match config {
            ColorConfig::Auto => Color::Auto,
            ColorConfig::Always => Color::Always,
            ColorConfig::Never => Color::Never,
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------

/// What may be written as one word, or as a table. Unlike an untagged enum it says which key of the table is wrong.
#[derive(Clone, Debug)]
struct WordOr<T>(T);

trait FromWord: Sized {
    const EXPECTED: &'static str;

    fn from_word(word: &str) -> Option<Self>;
}

impl<'de, T: FromWord + Deserialize<'de>> Deserialize<'de> for WordOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);

        impl<'de, T: FromWord + Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTED)
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<T, E> {
                T::from_word(word).ok_or_else(|| E::invalid_value(Unexpected::Str(word), &self))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_any(Either(PhantomData)).map(Self)
    }
}

/// `2s`, `500ms`, `30days`.
#[derive(Clone, Copy, Debug)]
struct Time(Duration);

/// A number of bytes, or `64 KiB`.
#[derive(Clone, Copy, Debug)]
struct Size(u64);

/// `0640`.
#[derive(Clone, Copy, Debug)]
struct Mode(u32);

/// What is read from a text, or for some from a number.
macro_rules! from_text {
    ($name:ident, $expected:literal, $text:expr, $number:expr) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Reader;

                impl Visitor<'_> for Reader {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<$name, E> {
                        let read: fn(&str) -> Option<$name> = $text;
                        read(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
                    }

                    fn visit_u64<E: Error>(self, number: u64) -> Result<$name, E> {
                        let read: fn(u64) -> Option<$name> = $number;
                        read(number).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
                    }

                    fn visit_i64<E: Error>(self, number: i64) -> Result<$name, E> {
                        match u64::try_from(number) {
                            Ok(number) => self.visit_u64(number),
                            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
                        }
                    }
                }

                deserializer.deserialize_any(Reader)
            }
        }
    };
}

from_text!(
    Time,
    "a time with its unit, as in `2s` or `500ms`",
    |text| humantime::parse_duration(text).ok().map(Time),
    |_| None
);
from_text!(Size, "a number of bytes, as in `1048576` or `64 KiB`", |text| size(text).map(Size), |number| Some(Size(
    number
)));
from_text!(
    Mode,
    "permissions as octal text, as in `0640`",
    |text| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| u32::from_str_radix(text, 8).ok().map(Mode))?,
    |_| { None }
);

fn size(text: &str) -> Option<u64> {
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let unit = match unit.trim() {
        "" | "B" => 1,
        "KiB" => crate::KIB,
        "MiB" => crate::MIB,
        "GiB" => crate::GIB,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}
