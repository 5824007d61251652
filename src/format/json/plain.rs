//! The plain map: what a record has, by the names that the crate uses for it. Runs on the writer's
//! thread.

use std::io;

use super::{Fields, Json, Names, Options, Record, TimeText, as_it_is, members, push, push_str, thread};

/// The names that a line has of its own.
pub(super) fn names(options: &Options) -> Names {
    let mut own = vec!["timestamp", "level", "target", "message"];
    own.extend(options.thread.then_some("thread"));
    own.extend(options.location.then_some(["file", "line"]).into_iter().flatten());
    Names::new(&own, as_it_is)
}

pub(super) fn fields(fields: &Fields, safe_integers: bool) -> io::Result<Vec<u8>> {
    members(fields, safe_integers)
}

impl Json {
    pub(super) fn plain(&self, out: &mut Vec<u8>, record: &Record<'_>, time: &mut TimeText) -> io::Result<()> {
        push(out, "{\"timestamp\":\"");
        time.write(out, record.unix_time());
        push(out, "\",\"level\":\"");
        push(out, record.level().as_str());
        push(out, "\",\"target\":");
        push_str(out, record.target())?;
        if let (true, Some(thread)) = (self.thread, thread(record)) {
            push(out, ",\"thread\":");
            push_str(out, &*thread)?;
        }
        if let (true, Some(file)) = (self.location, record.file()) {
            push(out, ",\"file\":");
            push_str(out, file)?;
            if let Some(line) = record.line() {
                push(out, ",\"line\":");
                serde_json::to_writer(&mut *out, &line)?;
            }
        }
        push(out, ",\"message\":");
        push_str(out, record.message_bytes())?;
        out.extend_from_slice(&self.fields);
        self.push_pairs(out, record)?;
        out.push(b'}');
        Ok(())
    }
}
