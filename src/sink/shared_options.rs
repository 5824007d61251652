//! The options that several outputs have, each written once: a macro for each group, which an
//! output's `impl` names where the methods stand. `tests/docs.rs` sees them there.
//!
//! `$made` is the output as an example makes it.

/// The options of an output with a field `wanted`.
macro_rules! wanted_options {
    ($made:literal) => {
        /// Sets the most verbose level that this output takes. Default: `Trace`, everything that
        /// passes the builder's filter. `Off` takes nothing. The same as `levels(..=max)`.
        ///
        /// ```
        #[doc = concat!("let output = ", $made, ".level(log::LevelFilter::Warn);")]
        /// ```
        pub fn level(self, max: log::LevelFilter) -> Self {
            self.levels(..=max)
        }

        /// Sets the levels that this output takes, from the one that matters most to the most
        /// verbose: `Warn..=Info` are WARN and INFO, without ERROR. Default: all. A later call of
        /// this or of [`level`](Self::level) replaces it. A reversed range, such as `Info..=Warn`,
        /// is an [`InitError`](crate::InitError).
        ///
        /// ```
        /// use log::LevelFilter::{Info, Warn};
        ///
        #[doc = concat!("let output = ", $made, ".levels(Warn..=Info);")]
        /// ```
        pub fn levels(mut self, levels: impl std::ops::RangeBounds<log::LevelFilter>) -> Self {
            self.wanted.set_levels(&levels);
            self
        }

        /// Sets directives in env_logger's grammar for this output alone: it takes what they and
        /// the levels let through, of what passes [`Builder::filter`](crate::Builder::filter).
        /// Default: none.
        ///
        /// As in env_logger, a target that they do not name is off: `access=info` takes only
        /// `access`, and `info,access=off` everything except `access`. See
        /// [outputs](crate::_docs::outputs). A directive that cannot be parsed is an
        /// [`InitError`](crate::InitError), and so are more than 16 outputs with filters.
        ///
        /// ```
        #[doc = concat!("let output = ", $made, ".filter(\"access=info,sqlx=warn\");")]
        /// ```
        pub fn filter(mut self, directives: &str) -> Self {
            self.wanted.directives = Some(directives.to_owned());
            self
        }

        /// Sets a closure that says which records this output takes, of those that its levels and
        /// its [`filter`](Self::filter) let through. Default: none.
        ///
        /// The closure runs inside of log calls, on their threads. A thread remembers the answer
        /// for each target and level, and asks again when it has forgotten it or when the
        /// directives of the logger have changed: so the closure must give the same answer for the
        /// same target and level, and cannot count on being called for each record. If it panics,
        /// the answer is no. What it logs itself is not offered to outputs with such a closure.
        ///
        /// ```
        #[doc = concat!("let output = ", $made)]
        ///     .filter_with(|metadata| metadata.target().ends_with("::audit"));
        /// ```
        pub fn filter_with(mut self, wants: impl Fn(&log::Metadata<'_>) -> bool + Send + Sync + 'static) -> Self {
            self.wanted.judge = Some(std::sync::Arc::new(wants));
            self
        }
    };
}

/// The option of an output with a field `format`.
macro_rules! format_option {
    ($made:literal) => {
        /// Sets the format of this output. Default: the builder's.
        ///
        /// ```
        #[doc = concat!("let output = ", $made, ".format(unfazed::Format::logfmt());")]
        /// ```
        pub fn format(mut self, format: impl Into<$crate::format::Format>) -> Self {
            self.format = Some(format.into());
            self
        }
    };
}

/// The option of an output with a field `otherwise`; `$other` is another output.
macro_rules! otherwise_option {
    ($made:literal, $other:literal) => {
        /// Sets the output that takes WARN and ERROR while this output is suspended. Default: none;
        /// the newest of them wait in memory.
        ///
        /// They go to the other output at once, and in memory as well: this output writes them when
        /// it resumes, so that a record may be in both, but never twice in one. The records of the
        /// batch in which the failure shows wait in memory only, and an ERROR that goes into the
        /// `error_reserve` is not handed on. The other output has its own account in
        /// [`Stats`](crate::Stats), in which `offered` counts what was handed to it; its levels
        /// narrow what it takes. A filter, a further output, or the stream or path of another
        /// output is an [`InitError`](crate::InitError).
        ///
        /// ```
        /// use unfazed::{Console, LogFile};
        ///
        #[doc = concat!("let output = ", $made, ".otherwise(", $other, ");")]
        /// ```
        #[doc(alias = "fallback")]
        #[doc(alias = "failover")]
        pub fn otherwise(mut self, output: impl Into<$crate::sink::otherwise::Otherwise>) -> Self {
            self.otherwise = Some(output.into());
            self
        }
    };
}

/// The options of an output with a `Backlog` in the field that is named; `$scope` says where they
/// have an effect, if that is not everywhere.
macro_rules! backlog_options {
    ($made:literal, $($backlog:ident).+ $(, $scope:literal)?) => {
        /// Sets how many bytes of lines wait in memory while the reader of the stream (a program
        /// or a daemon) is slow, at most 1 GiB. Default: 1 MiB.
        $(#[doc = concat!("\n\n", $scope)])?
        ///
        /// A stream that takes no more is tried again at least every 10 ms, and the other outputs
        /// go on meanwhile. Lines of all levels wait, in their order. The last eighth is for WARN
        /// and ERROR. What does not fit is dropped, counted as `queue_full`, and reported in the
        /// output when its reader goes on. Under [`Overflow::Block`](crate::Overflow::Block) and
        /// `BlockAtMost` nothing is dropped for lack of room here: the callers wait for the slowest
        /// reader, until its [`patience`](Self::patience) ends.
        ///
        /// A flush waits for the lines that wait at the call. At the end of the program the lines
        /// get the rest of [`shutdown_timeout`](crate::Builder::shutdown_timeout). Each line takes
        /// 32 bytes more than its length. The memory is taken with the first line that waits, and
        /// given back with the last. 0: none waits, except a line of which a part is in the stream.
        ///
        /// More than 1 GiB is an [`InitError`](crate::InitError).
        ///
        /// ```
        #[doc = concat!("let output = ", $made, ".backlog(64 * unfazed::KIB);")]
        /// ```
        pub fn backlog(mut self, bytes: u64) -> Self {
            self.$($backlog).+.bytes = bytes;
            self
        }

        /// Sets how long the reader of the stream may take nothing before the output is suspended,
        /// at most one hour. Default: 5 s. Zero: the output is suspended as soon as the stream
        /// takes no more.
        $(#[doc = concat!("\n\n", $scope)])?
        ///
        /// A suspended stream keeps what waits, and more while there is room. The output resumes
        /// when its reader goes on, with a gap line before the lines that have waited.
        ///
        /// More than one hour is an [`InitError`](crate::InitError).
        ///
        /// ```
        /// use std::time::Duration;
        ///
        #[doc = concat!("let output = ", $made, ".patience(Duration::from_secs(30));")]
        /// ```
        pub fn patience(mut self, at_most: std::time::Duration) -> Self {
            self.$($backlog).+.patience = at_most;
            self
        }
    };
}

pub(crate) use {backlog_options, format_option, otherwise_option, wanted_options};
