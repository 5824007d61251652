//! A format at work. Runs on the writer's thread.

use std::io;
use std::sync::Arc;

use crate::record::{Notice, Record};
use crate::zone::Zone;

#[cfg(all(feature = "journald", target_os = "linux"))]
use super::journal::Journal;
#[cfg(feature = "json")]
use super::json::Json;
use super::line_buf::{LineBuf, PartOptions};
use super::logfmt::Logfmt;
use super::options::Options;
use super::pattern::{self, Pattern};
#[cfg(all(feature = "syslog", unix))]
use super::syslog::Syslog;
#[cfg(any(all(feature = "syslog", unix), all(feature = "journald", target_os = "linux")))]
use super::time::TimeStyle;
use super::time::TimeText;
use super::{Custom, Format, LONGEST_ESCAPE, Layout, TEXT_OVERHEAD, escape, text};

/// A format at work: its options decided, and with what it remembers from line to line.
pub(crate) struct Encoder {
    work: Work,
    time: TimeText,
}

enum Work {
    Pattern(Pattern),
    #[cfg(feature = "json")]
    Json(Json),
    Logfmt(Logfmt),
    Custom(Arc<Custom>, Arc<PartOptions>),
    #[cfg(all(feature = "syslog", unix))]
    Syslog(Box<Syslog>),
    #[cfg(all(feature = "journald", target_os = "linux"))]
    Journal(Journal),
}

impl Encoder {
    pub(crate) fn new(format: Format) -> Self {
        let format = format.zone(Zone::local);
        let options = &format.options;
        let mut time = options.time.clone();
        let work = match format.layout {
            Layout::Text => Work::Pattern(Pattern::new(text::pieces(options), options)),
            // One that cannot be read has not passed `Format::check`.
            Layout::Pattern(pattern) => {
                Work::Pattern(Pattern::new(pattern::parse(&pattern).unwrap_or_default(), options))
            }
            #[cfg(feature = "json")]
            Layout::Json(map) => {
                time.style = time.style.rfc_3339();
                Work::Json(Json::new(map, options))
            }
            Layout::Logfmt => {
                time.style = time.style.rfc_3339();
                Work::Logfmt(Logfmt::new(options))
            }
            Layout::Custom(custom) => Work::Custom(custom, Arc::new(PartOptions::new(options))),
            // Their protocols have microseconds.
            #[cfg(all(feature = "syslog", unix))]
            Layout::Syslog(syslog) => {
                time.style = TimeStyle::Micros;
                Work::Syslog(Box::new(Syslog::new(syslog, options)))
            }
            #[cfg(all(feature = "journald", target_os = "linux"))]
            Layout::Journal(identifier) => {
                time.style = TimeStyle::Micros;
                Work::Journal(Journal::new(identifier, options))
            }
        };
        Self { work, time: TimeText::new(time) }
    }

    /// Returns true if the code that lays out is the program's own.
    pub(crate) fn is_programs(&self) -> bool {
        matches!(self.work, Work::Custom(..))
    }

    /// Appends the line of one record. After an error (or a panic) the caller cuts `out` back to
    /// where it was. Without memory for it the error is `OutOfMemory`.
    pub(crate) fn line(&mut self, out: &mut LineBuf, record: &Record<'_>) -> io::Result<()> {
        let extra = if let Work::Pattern(pattern) = &self.work { pattern.overhead(record) } else { 0 };
        make_room(out.bytes_mut(), record, extra)?;
        if record.is_line() {
            out.bytes_mut().extend_from_slice(record.message_bytes());
            out.bytes_mut().push(b'\n');
            return Ok(());
        }
        match &self.work {
            Work::Pattern(pattern) => pattern.line(out.bytes_mut(), record, &mut self.time),
            #[cfg(feature = "json")]
            Work::Json(json) => json.line(out.bytes_mut(), record, &mut self.time)?,
            Work::Logfmt(logfmt) => logfmt.line(out.bytes_mut(), record, &mut self.time),
            #[cfg(all(feature = "syslog", unix))]
            Work::Syslog(syslog) => syslog.line(out.bytes_mut(), record, &mut self.time),
            #[cfg(all(feature = "journald", target_os = "linux"))]
            Work::Journal(journal) => journal.line(out.bytes_mut(), record, &mut self.time),
            Work::Custom(custom, options) => {
                let start = out.len();
                out.begin(options);
                custom(out, record)?;
                if !out.is_complete() {
                    return Err(io::ErrorKind::OutOfMemory.into());
                }
                if out.len() == start || out.bytes().last() == Some(&b'\n') {
                    return Ok(());
                }
            }
        }
        out.bytes_mut().push(b'\n');
        Ok(())
    }

    /// Appends a line of the crate's own. A custom format that cannot lay it out does not hide it:
    /// then it is text.
    pub(crate) fn notice(&mut self, out: &mut LineBuf, notice: &Notice) {
        let start = out.len();
        let record = notice.record();
        let attempt = std::panic::AssertUnwindSafe(|| self.line(out, &record));
        if !matches!(std::panic::catch_unwind(attempt), Ok(Ok(()))) || out.len() == start {
            out.truncate(start);
            let options = Options::default();
            Pattern::new(text::pieces(&options), &options).line(out.bytes_mut(), &record, &mut self.time);
            out.bytes_mut().push(b'\n');
        }
    }
}

/// Makes room for the line of a record before it is laid out piece by piece: the pieces would end
/// the process where there is no memory.
#[inline]
fn make_room(out: &mut Vec<u8>, record: &Record<'_>, extra: usize) -> io::Result<()> {
    if out.capacity() - out.len() >= TEXT_OVERHEAD + extra + record.text_len() * LONGEST_ESCAPE {
        return Ok(()); // Nearly always: the buffer is used for batch after batch.
    }
    make_more_room(out, record, extra)
}

fn may_be_escaped(byte: u8) -> bool {
    escape::may_mislead(byte) | matches!(byte, b'"' | b'\\')
}

#[cold]
fn make_more_room(out: &mut Vec<u8>, record: &Record<'_>, extra: usize) -> io::Result<()> {
    let message = record.message_bytes();
    let outside_message = record.text_len().saturating_sub(message.len());
    let escaped = message.iter().filter(|byte| may_be_escaped(**byte)).count();
    let more = (escaped + outside_message) * (LONGEST_ESCAPE - 1);
    out.try_reserve(TEXT_OVERHEAD + extra + record.text_len() + more)?;
    Ok(())
}
