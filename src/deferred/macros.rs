//! The log macros: they take a call apart as far as `macro_rules` can, and hand it to the
//! procedural macro; or to `log`, if it names a logger or is no call that `log` would take.

/// Logs a message at a level that is an expression, as `log::log!` does; the message is laid out
/// on the writer's thread. See [`info!`](crate::info!).
///
/// ```
/// use log::Level;
///
/// let (level, bytes) = (Level::Debug, 4096);
/// unfazed::log!(level, "read {bytes} bytes");
/// unfazed::log!(target: "net", Level::Warn, peer = 7; "slow by {:.1} s", 2.25);
/// ```
#[macro_export]
macro_rules! log {
    (logger: $logger:expr, $($rest:tt)+) => ($crate::__private::log::log!(logger: $logger, $($rest)+));
    (target: $target:expr, $level:expr, $($rest:tt)+) => ($crate::__log!([$target] [$level] $($rest)+));
    ($level:expr, $($rest:tt)+) => ($crate::__log!([] [$level] $($rest)+));
}

/// Logs a message at the level ERROR, as `log::error!` does; the message is laid out on the
/// writer's thread. See [`info!`](crate::info!).
///
/// ```
/// unfazed::error!("request {} failed after {:?}", 17, std::time::Duration::from_millis(20));
/// ```
#[macro_export]
macro_rules! error {
    (logger: $logger:expr, $($rest:tt)+) => ($crate::__private::log::error!(logger: $logger, $($rest)+));
    (target: $target:expr, $($rest:tt)+) => {
        $crate::__log!([$target] [$crate::__private::log::Level::Error] $($rest)+)
    };
    ($($rest:tt)+) => ($crate::__log!([] [$crate::__private::log::Level::Error] $($rest)+));
}

/// Logs a message at the level WARN, as `log::warn!` does; the message is laid out on the
/// writer's thread. See [`info!`](crate::info!).
///
/// ```
/// let left = 3;
/// unfazed::warn!("{left} attempts are left");
/// ```
#[macro_export]
macro_rules! warn {
    (logger: $logger:expr, $($rest:tt)+) => ($crate::__private::log::warn!(logger: $logger, $($rest)+));
    (target: $target:expr, $($rest:tt)+) => {
        $crate::__log!([$target] [$crate::__private::log::Level::Warn] $($rest)+)
    };
    ($($rest:tt)+) => ($crate::__log!([] [$crate::__private::log::Level::Warn] $($rest)+));
}

/// Logs a message at the level INFO, as `log::info!` does, with the same grammar and the same
/// text; the message is laid out on the writer's thread, so the call takes less time.
///
/// The writer pays for it: counted in instructions, for a message with an integer, two texts and a
/// float, the call costs 0.33 of one by `log`'s macro, the writer 1.5 times as much, and both
/// together 0.83 times. A program that logs without a pause therefore fills the queue sooner, and
/// drops more of its records where the queue may be full.
///
/// Numbers, `bool`, `char`, texts, paths, `Option`, `Duration`, addresses and references to them
/// are stored by their bytes. A call with an argument of another type is laid out on its own
/// thread, as with `log`. So is one whose message a filter reads, and every call of a program whose
/// logger [`Builder::init`](crate::Builder::init) has not installed: it goes to the logger of
/// `log`. The same logger takes calls of both kinds, in their order.
///
/// With three key-values the call costs 0.49 of one by `log`'s macro, if there is no `target:`, no
/// value has a capture (such as `:?`), and each is an integer, a float, a `bool`, a text, or an
/// `Option` of one of these; with others it costs about as much as by `log`'s macro.
///
/// Compiling a call takes about twice as long as compiling one by `log`'s macro, and 1.5 times as
/// long with optimisation.
///
/// The type of each argument and value must be known where the call stands. What only a later line
/// decides, as for `let mut last = None;`, may not compile. Neither does an argument that is named
/// like a keyword with which an expression begins, such as `match = 5`.
///
/// ```
/// let (user, ms) = ("ada", 12.5);
/// unfazed::info!("user {user} logged in from {} in {ms:.2} ms", "127.0.0.1");
/// unfazed::info!(target: "audit", user, attempt = 2; "logged in");
/// ```
#[macro_export]
macro_rules! info {
    (logger: $logger:expr, $($rest:tt)+) => ($crate::__private::log::info!(logger: $logger, $($rest)+));
    (target: $target:expr, $($rest:tt)+) => {
        $crate::__log!([$target] [$crate::__private::log::Level::Info] $($rest)+)
    };
    ($($rest:tt)+) => ($crate::__log!([] [$crate::__private::log::Level::Info] $($rest)+));
}

/// Logs a message at the level DEBUG, as `log::debug!` does; the message is laid out on the
/// writer's thread. See [`info!`](crate::info!).
///
/// ```
/// unfazed::debug!("{:#06x} {:?}", 255, Some("text"));
/// ```
#[macro_export]
macro_rules! debug {
    (logger: $logger:expr, $($rest:tt)+) => ($crate::__private::log::debug!(logger: $logger, $($rest)+));
    (target: $target:expr, $($rest:tt)+) => {
        $crate::__log!([$target] [$crate::__private::log::Level::Debug] $($rest)+)
    };
    ($($rest:tt)+) => ($crate::__log!([] [$crate::__private::log::Level::Debug] $($rest)+));
}

/// Logs a message at the level TRACE, as `log::trace!` does; the message is laid out on the
/// writer's thread. See [`info!`](crate::info!).
///
/// ```
/// let width = 8;
/// unfazed::trace!("[{:>width$}]", "right");
/// ```
#[macro_export]
macro_rules! trace {
    (logger: $logger:expr, $($rest:tt)+) => ($crate::__private::log::trace!(logger: $logger, $($rest)+));
    (target: $target:expr, $($rest:tt)+) => {
        $crate::__log!([$target] [$crate::__private::log::Level::Trace] $($rest)+)
    };
    ($($rest:tt)+) => ($crate::__log!([] [$crate::__private::log::Level::Trace] $($rest)+));
}

/// Splits key-values, literal and arguments as `log` and `format_args!` do. What is split otherwise
/// goes to `log`, which says what is wrong with it.
#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($target:tt $level:tt $($key:tt $(:$capture:tt)? $(= $value:expr)?),+; $literal:tt $(, $argument:expr)* $(,)?) => {
        $crate::__private::deferred!(
            [$crate] $target $level [$($key $(:$capture)? $(= $value)?),+;] $literal $(, $argument)*
        )
    };
    ($target:tt $level:tt $literal:tt $(, $argument:expr)* $(,)?) => {
        $crate::__private::deferred!([$crate] $target $level [] $literal $(, $argument)*)
    };
    ([] [$level:expr] $($rest:tt)+) => ($crate::__private::log::log!($level, $($rest)+));
    ([$target:expr] [$level:expr] $($rest:tt)+) => ($crate::__private::log::log!(target: $target, $level, $($rest)+));
}
