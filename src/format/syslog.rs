//! Syslog messages: RFC 5424, and the older form that RFC 3164 describes. Runs on the writer's
//! thread.
//!
//! The maintained crates were looked at: `syslog` brings `time` and formats into strings of its
//! own, `fasyslog` brings `jiff`; both write to their sockets themselves and wait there. The rest
//! fits in this file.

use std::borrow::Cow;

use log::Level;

use crate::record::{CUT_MARK, KeyValues, Record};

use super::escape::{Controls, push_text};
use super::options::Options;
use super::pairs::push_pairs;
use super::time::TimeText;

/// What a message says of its sender, and its form.
#[derive(Clone, Debug)]
pub(crate) struct SyslogOptions {
    /// 0 to 23.
    pub(crate) facility: u8,
    pub(crate) app_name: String,
    pub(crate) host: Option<String>,
    pub(crate) is_rfc_3164: bool,
    /// The other side is on this machine: there the older form has no host.
    pub(crate) is_local: bool,
    /// The name of the structured data, as `app@32473`.
    pub(crate) sd_id: Option<String>,
    /// The longest message, in bytes.
    pub(crate) max_len: usize,
}

/// The format with its options, decided once.
pub(super) struct Syslog {
    options: SyslogOptions,
    /// Host, name and process, as each message has them.
    sender: String,
    fields: Options,
}

impl Syslog {
    pub(super) fn new(options: SyslogOptions, fields: &Options) -> Self {
        let (app, process) = (&options.app_name, std::process::id());
        let host = options.host.as_deref().map_or(Cow::Borrowed("-"), |host| printable(host, 255));
        let sender = match (options.is_rfc_3164, options.is_local) {
            (false, _) => format!(" {host} {} {process} ", printable(app, 48)),
            (true, false) => format!(" {host} {}[{process}]: ", printable(app, 32)),
            (true, true) => format!(" {}[{process}]: ", printable(app, 32)),
        };
        Self { options, sender, fields: fields.clone() }
    }

    pub(super) fn line(&self, out: &mut Vec<u8>, record: &Record<'_>, time: &mut TimeText) {
        let start = out.len();
        let mut has_structured_data = false;
        let priority = self.options.facility * 8 + severity(record.level());
        out.extend_from_slice(format!("<{priority}>").as_bytes());
        if self.options.is_rfc_3164 {
            push_short_time(out, record, time);
            out.extend_from_slice(self.sender.as_bytes());
            push_text(out, record.target(), Controls::Rust);
            out.extend_from_slice(b": ");
        } else {
            out.extend_from_slice(b"1 ");
            time.write(out, record.unix_time());
            out.extend_from_slice(self.sender.as_bytes());
            out.extend_from_slice(printable(record.target(), 32).as_bytes());
            out.push(b' ');
            has_structured_data = self.push_structured_data(out, record);
            out.push(b' ');
        }
        push_text(out, record.message_bytes(), Controls::Rust);
        if !has_structured_data {
            push_pairs(out, self.fields.fields.pairs(), Controls::Rust);
            push_pairs(out, record.key_values(), Controls::Rust);
        }
        cut(out, start, self.options.max_len);
    }

    /// Appends the structured data, or `-`. Returns false if the key-values are not in it.
    fn push_structured_data(&self, out: &mut Vec<u8>, record: &Record<'_>) -> bool {
        let pairs = [self.fields.fields.pairs(), record.key_values()];
        let start = out.len();
        if let (Some(id), true) = (&self.options.sd_id, pairs.iter().any(|pairs| pairs.clone().next().is_some())) {
            out.push(b'[');
            out.extend_from_slice(printable(id, 255).as_bytes());
            pairs.into_iter().for_each(|pairs| push_params(out, pairs));
            out.push(b']');
            // A message must have a place, too.
            if out.len() - start <= self.options.max_len / 2 {
                return true;
            }
            out.truncate(start);
        }
        out.push(b'-');
        false
    }
}

/// Appends ` key="value"` for each pair: the name of printable ASCII, the value with the three
/// escapes of RFC 5424, section 6.3.3.
fn push_params(out: &mut Vec<u8>, pairs: KeyValues<'_>) {
    for (key, value) in pairs {
        out.push(b' ');
        let name = printable(key, 32);
        out.extend(name.bytes().map(|byte| if matches!(byte, b'=' | b']' | b'"') { b'_' } else { byte }));
        out.extend_from_slice(b"=\"");
        let mut text = Vec::new();
        push_text(&mut text, &*value.to_string(), Controls::Rust);
        for byte in text {
            if matches!(byte, b'"' | b'\\' | b']') {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.push(b'"');
    }
}

/// `Nov  7 09:30:00`, taken from the text of the other formats: `2026-11-07T09:30:00.123456Z`.
fn push_short_time(out: &mut Vec<u8>, record: &Record<'_>, time: &mut TimeText) {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut long = Vec::new();
    time.write(&mut long, record.unix_time());
    let long = String::from_utf8_lossy(&long);
    // A year of more than four digits moves the others.
    let (date, clock) = long.split_once('T').unwrap_or(("", ""));
    let mut parts = date.rsplit('-');
    let (day, month) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let month = month.parse::<usize>().ok().and_then(|month| MONTHS.get(month.checked_sub(1)?));
    let day = day.strip_prefix('0').map_or(day.to_owned(), |day| format!(" {day}"));
    out.extend_from_slice(format!("{} {day} {}", month.unwrap_or(&"Jan"), clock.get(..8).unwrap_or("")).as_bytes());
}

/// Returns the severity of RFC 5424, table 2.
pub(super) fn severity(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Returns the text as a header field may be: printable ASCII without spaces, not empty, and not
/// too long.
fn printable(text: &str, most: usize) -> Cow<'_, str> {
    if text.is_empty() {
        return "-".into();
    }
    if text.len() <= most && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return text.into();
    }
    text.chars().take(most).map(|character| if character.is_ascii_graphic() { character } else { '_' }).collect()
}

/// Cuts what begins at `start` to `most` bytes, and marks it.
fn cut(out: &mut Vec<u8>, start: usize, most: usize) {
    if out.len() - start <= most {
        return;
    }
    let mut end = start + most - CUT_MARK.len();
    while end > start && out[end] & 0b1100_0000 == 0b1000_0000 {
        end -= 1;
    }
    out.truncate(end);
    out.extend_from_slice(CUT_MARK.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::record::{Notice, Value};

    fn options() -> SyslogOptions {
        SyslogOptions {
            facility: 1,
            app_name: "my app".into(),
            host: Some("web1".into()),
            is_rfc_3164: false,
            is_local: false,
            sd_id: None,
            max_len: 8192,
        }
    }

    fn line(options: SyslogOptions, message: &str, pairs: &[(&str, Value<'_>)]) -> String {
        let time = UNIX_EPOCH + Duration::from_micros(1_793_880_000_000_001);
        let notice = Notice::new(Level::Warn, time, format_args!("{message}"), pairs);
        let mut out = b"before".to_vec();
        Syslog::new(options, &Options::default()).line(&mut out, &notice.record(), &mut TimeText::default());
        let line = String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned();
        line.replace(&std::process::id().to_string(), "PID")
    }

    #[test]
    fn a_message_has_the_header_of_rfc_5424() {
        let pairs = [("id", Value::U64(7)), ("who", Value::Str("a b"))];
        assert_eq!(
            line(options(), "two\nlines", &pairs),
            "<12>1 2026-11-05T12:00:00.000001Z web1 my_app PID unfazed - two\\nlines id=7 who=\"a b\""
        );
    }

    #[test]
    fn structured_data_is_escaped_as_the_rfc_says() {
        let options = SyslogOptions { sd_id: Some("app@32473".into()), ..options() };
        let pairs = [("a=\"]b", Value::Str("say \"hi\" ] \\ \n")), ("ä", Value::Bool(true))];
        assert_eq!(
            line(options.clone(), "m", &pairs),
            "<12>1 2026-11-05T12:00:00.000001Z web1 my_app PID unfazed \
             [app@32473 a___b=\"say \\\"hi\\\" \\] \\\\ \\\\n\" _=\"true\"] m"
        );
        assert!(line(options, "m", &[]).ends_with(" unfazed - m"));
    }

    /// They were left out without a mark, the short ones with the long one.
    #[test]
    fn key_values_too_long_for_the_structured_data_are_after_the_message() {
        let options = SyslogOptions { sd_id: Some("app@32473".into()), max_len: 480, ..options() };
        for (length, is_cut) in [(300, false), (480, true)] {
            let long = "x".repeat(length);
            let pairs = [("id", Value::U64(7)), ("long", Value::Str(&long)), ("last", Value::Null)];
            let got = line(options.clone(), "m", &pairs);
            assert!(got.contains(" unfazed - m id=7 long=xxx"), "{got}");
            assert!(got.ends_with(if is_cut { "x...[cut]" } else { "x last=null" }), "{got}");
        }
    }

    #[test]
    fn the_older_form_has_a_short_time_and_for_this_machine_no_host() {
        let older = SyslogOptions { is_rfc_3164: true, ..options() };
        assert_eq!(line(older.clone(), "m", &[]), "<12>Nov  5 12:00:00 web1 my_app[PID]: unfazed: m");
        let local = SyslogOptions { is_local: true, ..older };
        assert_eq!(line(local, "m", &[]), "<12>Nov  5 12:00:00 my_app[PID]: unfazed: m");
    }

    #[test]
    fn no_message_is_longer_than_the_option_says() {
        for most in [480, 481, 482, 483] {
            for sd_id in [None, Some("app@32473".to_owned())] {
                let options = SyslogOptions { max_len: most, sd_id, ..options() };
                let long = "ä".repeat(5000);
                let got = line(options, &long, &[("long", Value::Str(&long))]);
                assert!(got.len() <= most && got.len() > most - 16 && got.ends_with("ä...[cut]"), "{got}");
            }
        }
    }
}
