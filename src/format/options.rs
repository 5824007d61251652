//! The options of a format. Runs on the thread that sets the logger up.

use std::time::SystemTime;

use log::kv::ToValue;

use crate::record::Fields;
use crate::zone::Zone;

use super::Format;
use super::palette::Palette;
use super::time::{TimeOptions, TimeStyle};

#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    pub(super) time: TimeOptions,
    pub(super) without_level: bool,
    pub(super) without_target: bool,
    pub(super) short_target: bool,
    pub(super) thread: bool,
    pub(super) location: bool,
    pub(super) multiline: bool,
    pub(super) safe_integers: bool,
    pub(super) colors: Colors,
    pub(super) fields: Fields,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Colors {
    /// Decided by the output.
    pub(super) is_wanted: bool,
    pub(super) whole_line: bool,
    /// As the program gave it.
    pub(super) palette: String,
}

impl Colors {
    pub(super) fn palette(&self) -> Palette {
        // One that cannot be read has not passed `Format::check`.
        Palette::parse(&self.palette).unwrap_or_default()
    }
}

impl Format {
    /// Writes times in the local time zone, with its offset, instead of UTC (the default). A custom
    /// format gets them from [`LineBuf::timestamp`](crate::LineBuf::timestamp).
    ///
    /// The zone is that of `TZ`, or of `/etc/localtime`, when the logger is set up. Its clock
    /// changes are followed; a later change of `TZ` is not. A zone that cannot be read is UTC.
    ///
    /// ```
    /// let format = unfazed::Format::text().local_time();
    /// ```
    pub fn local_time(mut self) -> Self {
        self.options.time.is_local = true;
        self
    }

    /// Sets how the time is written. Default: [`TimeStyle::Micros`].
    ///
    /// Takes a [`TimeStyle`], or its text: `off`, `s`, `ms`, `us`, `ns`, `elapsed`, or a pattern of
    /// `strftime`. A pattern that cannot be read is an [`InitError`](crate::InitError). The digits
    /// after the second apply to all formats with RFC 3339; `off`, `elapsed` and patterns to
    /// `text`, `pattern` and, by [`LineBuf::timestamp`](crate::LineBuf::timestamp), `custom`.
    ///
    /// ```
    /// use unfazed::{Format, TimeStyle};
    ///
    /// let with_millis = Format::text().time(TimeStyle::Millis);
    /// let of_the_day = Format::text().local_time().time("%H:%M:%S");
    /// ```
    #[doc(alias = "format_timestamp")]
    pub fn time(mut self, style: impl Into<TimeStyle>) -> Self {
        self.options.time.style = style.into();
        self
    }

    /// Leaves out the level. Default: written. Only in text.
    ///
    /// ```
    /// let format = unfazed::Format::text().without_level();
    /// ```
    pub fn without_level(mut self) -> Self {
        self.options.without_level = true;
        self
    }

    /// Leaves out the target. Default: written. Only in text.
    ///
    /// ```
    /// let format = unfazed::Format::text().without_target();
    /// ```
    pub fn without_target(mut self) -> Self {
        self.options.without_target = true;
        self
    }

    /// Writes only the last segment of the target: `pool` instead of `app::db::pool`. Default: the
    /// whole target. In text, patterns, and by [`LineBuf::target`](crate::LineBuf::target).
    ///
    /// ```
    /// let format = unfazed::Format::text().short_target();
    /// ```
    pub fn short_target(mut self) -> Self {
        self.options.short_target = true;
        self
    }

    /// Colours the whole line instead of the level, where the output is coloured
    /// ([`Console::color`](crate::Console::color)). Default: the level. In text and patterns.
    ///
    /// ```
    /// let format = unfazed::Format::text().color_lines();
    /// ```
    pub fn color_lines(mut self) -> Self {
        self.options.colors.whole_line = true;
        self
    }

    /// Sets the colours of levels, as in `palette("error=bold red, warn=yellow, trace=244")`.
    /// Default: `error=bold red, warn=yellow, info=green, debug=blue, trace=cyan`.
    ///
    /// A level that is not named keeps its default. A colour is one of `black`, `red`, `green`,
    /// `yellow`, `blue`, `magenta`, `cyan`, `white`, the same after `bright_`, a number from 0 to
    /// 255, or `plain`; before it may stand `bold`, `dim`, `italic`, `underline`. Everything else
    /// is an [`InitError`](crate::InitError). In text, patterns, and by
    /// [`LineBuf::level`](crate::LineBuf::level), where the output is coloured.
    ///
    /// ```
    /// let format = unfazed::Format::text().palette("warn=bold yellow, debug=dim plain");
    /// ```
    pub fn palette(mut self, colors: &str) -> Self {
        self.options.colors.palette = colors.to_owned();
        self
    }

    /// Writes which thread logged: its name, or its number if it has none (1 is the first that
    /// logged). Default: not written, except by the formats that always do.
    ///
    /// In text it is before the target, as in `INFO  [main] app: message`.
    ///
    /// ```
    /// let format = unfazed::Format::text().thread();
    /// ```
    pub fn thread(mut self) -> Self {
        self.options.thread = true;
        self
    }

    /// Writes the source file and line of the log call. Default: not written, except by the formats
    /// that always do.
    ///
    /// In text it is after the target, as in `INFO  app src/main.rs:42: message`.
    ///
    /// ```
    /// let format = unfazed::Format::text().location();
    /// ```
    pub fn location(mut self) -> Self {
        self.options.location = true;
        self
    }

    /// The former name of [`location`](Self::location).
    #[doc(hidden)]
    pub fn place(self) -> Self {
        self.location()
    }

    /// Writes a message of several lines as several lines in text, each but the first indented by
    /// four spaces. Default: its newlines are escaped.
    ///
    /// A line that is not indented is the start of a record: no message can forge one. All other
    /// control characters stay escaped, and those in key-values, too. Formats other than text and
    /// patterns are not changed by it.
    ///
    /// ```
    /// let format = unfazed::Format::text().multiline();
    /// ```
    pub fn multiline(mut self) -> Self {
        self.options.multiline = true;
        self
    }

    /// Writes an integer beyond 2^53 as a string in `json`. Default: as a number with all its
    /// digits.
    ///
    /// JavaScript, `jq` before 1.7 and everything else that keeps each number as a double rounds a
    /// larger one: 9007199254740993 becomes 9007199254740992. What is inside a structured value
    /// is treated alike. `google_cloud` always does it, because Google stores the payload's numbers
    /// as doubles; the other formats follow their schema.
    ///
    /// ```
    /// # #[cfg(feature = "json")] {
    /// # use std::time::UNIX_EPOCH;
    /// let format = unfazed::Format::json().safe_integers();
    /// let pairs = [("id", 9_007_199_254_740_993_u64)];
    /// let line = format.line(&log::Record::builder().key_values(&pairs).build(), UNIX_EPOCH)?;
    /// assert!(line.ends_with(b"\"id\":\"9007199254740993\"}\n"));
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn safe_integers(mut self) -> Self {
        self.options.safe_integers = true;
        self
    }

    /// Adds a constant field to each line, as in `field("service.name", "shop")`. Set again, the
    /// later value counts. Default: none.
    ///
    /// The value is what a key-value of a log call can be: a string, a number, a `bool`. Where it
    /// stands is the format's business. A name that the format writes itself is an
    /// [`InitError`](crate::InitError). No effect on a custom format.
    ///
    /// ```
    /// # #[cfg(feature = "json")]
    /// let format = unfazed::Format::otel()
    ///     .field("service.name", "shop")
    ///     .field("process.pid", std::process::id());
    /// ```
    pub fn field(mut self, key: &str, value: impl ToValue) -> Self {
        self.options.fields.set(key, value.to_value());
        self
    }
}

impl Format {
    /// Sets whether the level is coloured, which the output decides.
    pub(crate) fn colored(mut self, colored: bool) -> Self {
        self.options.colors.is_wanted = colored;
        self
    }

    /// Fills in the local time zone, if the format must have it and was given none.
    pub(crate) fn zone(mut self, zone: impl FnOnce() -> Zone) -> Self {
        let time = &mut self.options.time;
        if time.is_local && time.zone.is_none() {
            time.zone = Some(zone());
        }
        self
    }

    /// Sets when the logger was built.
    pub(crate) fn started(mut self, at: SystemTime) -> Self {
        self.options.time.started = Some(at);
        self
    }
}
