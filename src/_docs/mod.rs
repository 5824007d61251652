//! The documentation pages: what is too long for the page of one type.
//!
//! | page | question |
//! |---|---|
//! | [`formats`] | What does a line look like, and which reader takes it? |
//! | [`filters`] | Which records are written, and how does that change while the program runs? |
//! | [`config`] | Which options are there, and how are they written in a file? |
//! | [`rotation`] | When is a file rotated, how are archives named, and which of them go? |
//! | [`losing_records`] | In which ways can a record be dropped, and which counter says so? |
//! | [`shutdown`] | What is written when the process ends, and what is not? |
//! | [`full_disk`] | What happens when there is no space, and how does the output come back? |
//! | [`files`] | How is a file opened and shared, and what may others do to it? |
//! | [`file_systems`] | What holds on which file system? |
//! | [`platforms`] | What holds on which operating system? |
//! | [`outputs`] | Which records go to which output? How does a program write to a destination of its own? |
//! | [`context`] | How do the records of one request get its number? |
//! | [`testing`] | What does a program's own test see of its log? |
//! | [`migrating`] | How do I replace another logger? |

#[doc = include_str!("formats.md")]
pub mod formats {}

#[doc = include_str!("filters.md")]
pub mod filters {}

#[doc = include_str!("config.md")]
pub mod config {}

#[doc = include_str!("rotation.md")]
pub mod rotation {}

#[doc = include_str!("losing_records.md")]
pub mod losing_records {}

#[doc = include_str!("shutdown.md")]
pub mod shutdown {}

#[doc = include_str!("full_disk.md")]
pub mod full_disk {}

#[doc = include_str!("files.md")]
pub mod files {}

#[doc = include_str!("file_systems.md")]
pub mod file_systems {}

#[doc = include_str!("platforms.md")]
pub mod platforms {}

#[cfg_attr(any(feature = "json", not(doctest)), doc = include_str!("outputs.md"))]
pub mod outputs {}

#[doc = include_str!("context.md")]
pub mod context {}

#[doc = include_str!("testing.md")]
pub mod testing {}

/// How another logger is set up, next to what does the same with this crate.
///
/// | from | page |
/// |---|---|
/// | env_logger | [`env_logger`](migrating::env_logger) |
/// | flexi_logger | [`flexi_logger`](migrating::flexi_logger) |
/// | log4rs | [`log4rs`](migrating::log4rs) |
/// | fern | [`fern`](migrating::fern) |
/// | simplelog | [`simplelog`](migrating::simplelog) |
#[cfg_attr(feature = "json", doc = "| logforth | [`logforth`](migrating::logforth) |")]
#[cfg_attr(not(feature = "json"), doc = "| logforth | `logforth`, with the feature `json` |")]
#[cfg_attr(
    all(feature = "tracing", feature = "json"),
    doc = "| tracing-appender | [`tracing_appender`](migrating::tracing_appender) |"
)]
#[cfg_attr(
    not(all(feature = "tracing", feature = "json")),
    doc = "| tracing-appender | `tracing_appender`, with the features `tracing` and `json` |"
)]
pub mod migrating {
    #[doc = include_str!("migrating/env_logger.md")]
    pub mod env_logger {}

    #[doc = include_str!("migrating/flexi_logger.md")]
    pub mod flexi_logger {}

    #[cfg_attr(any(feature = "json", not(doctest)), doc = include_str!("migrating/log4rs.md"))]
    pub mod log4rs {}

    #[doc = include_str!("migrating/fern.md")]
    pub mod fern {}

    #[doc = include_str!("migrating/simplelog.md")]
    pub mod simplelog {}

    #[cfg(feature = "json")]
    #[doc = include_str!("migrating/logforth.md")]
    pub mod logforth {}

    #[cfg(all(feature = "tracing", feature = "json"))]
    #[doc = include_str!("migrating/tracing_appender.md")]
    pub mod tracing_appender {}
}
