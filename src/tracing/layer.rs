//! The layer: an event and the fields of its spans become one record. Runs on the caller's thread.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use log::kv;
use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::subscriber::{Interest, Subscriber};
use tracing_core::{Dispatch, Event, LevelFilter, Metadata};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Filtered;
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use crate::error::write_with_sources;
use crate::front::logger::Core;
use crate::record::{Fields, KeyValueWriter, MoreKeyValues};

/// The field that is the message.
const MESSAGE: &str = "message";
/// The key under which the names of the spans stand.
const SPAN: &str = "span";
/// The target of what `tracing_log::LogTracer` hands on, whose own location is in fields.
const FROM_LOG: &str = "log";

pub(super) struct RecordLayer {
    core: Arc<Core>,
    /// Distinguishes the layers of a registry, which may be several.
    number: u64,
}

pub(super) fn new<S>(core: Arc<Core>) -> Filtered<RecordLayer, ByDirectives, S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    static NEXT: AtomicU64 = AtomicU64::new(1);
    RecordLayer { core: core.clone(), number: NEXT.fetch_add(1, Relaxed) }.with_filter(ByDirectives { core })
}

impl<S> Layer<S> for RecordLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        self.core.filter().asked_by(dispatch);
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = SpanFields::default();
        attributes.record(&mut fields);
        let mut extensions = span.extensions_mut();
        match extensions.get_mut::<FieldsOfLayers>() {
            Some(of_layers) => of_layers.others.push((self.number, fields)),
            None => extensions.insert(FieldsOfLayers { first: (self.number, fields), others: Vec::new() }),
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        // Runs the program's `Debug`, which may log or panic: not under the lock of the span.
        let mut latest = SpanFields::default();
        values.record(&mut latest);
        let mut extensions = span.extensions_mut();
        if let Some(fields) = extensions.get_mut::<FieldsOfLayers>().and_then(|all| all.of_mut(self.number)) {
            fields.0.set_all(&latest.0);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let span = context.event_span(event);
        let is_from_log = metadata.target() == FROM_LOG && metadata.fields().field("log.target").is_some();
        let more = EventFields { event, is_from_log, span, layer: self.number };
        let mut record = log::Record::builder();
        record.level(level(*metadata.level()));
        if is_from_log {
            let mut location = LogLocation::default();
            event.record(&mut location);
            record.target(location.target.as_deref().unwrap_or(FROM_LOG)).module_path(location.module_path.as_deref());
            record.file(location.file.as_deref()).line(location.line);
            self.core.log(&record.args(format_args!("{}", MessageOf(event))).build(), Some(&more));
            return;
        }
        record.target(metadata.target()).module_path_static(metadata.module_path());
        record.file_static(metadata.file()).line(metadata.line());
        self.core.log(&record.args(format_args!("{}", MessageOf(event))).build(), Some(&more));
    }
}

/// The logger's own directives, for this layer alone.
pub(super) struct ByDirectives {
    core: Arc<Core>,
}

impl ByDirectives {
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let metadata = log::Metadata::builder().level(level(*metadata.level())).target(metadata.target()).build();
        self.core.filter().load().enabled(&metadata)
    }
}

impl<S> Filter<S> for ByDirectives {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.target() == FROM_LOG {
            // Its target is known with each event.
            return Interest::sometimes();
        }
        if self.wants(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.core.filter().load().max_level() {
            log::LevelFilter::Off => LevelFilter::OFF,
            log::LevelFilter::Error => LevelFilter::ERROR,
            log::LevelFilter::Warn => LevelFilter::WARN,
            log::LevelFilter::Info => LevelFilter::INFO,
            log::LevelFilter::Debug => LevelFilter::DEBUG,
            log::LevelFilter::Trace => LevelFilter::TRACE,
        })
    }
}

pub(super) fn level(level: tracing_core::Level) -> log::Level {
    match level {
        tracing_core::Level::ERROR => log::Level::Error,
        tracing_core::Level::WARN => log::Level::Warn,
        tracing_core::Level::INFO => log::Level::Info,
        tracing_core::Level::DEBUG => log::Level::Debug,
        tracing_core::Level::TRACE => log::Level::Trace,
    }
}

/// The message of an event, and nothing if it has none.
struct MessageOf<'a>(&'a Event<'a>);

impl fmt::Display for MessageOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Message<'a, 'b>(&'a mut fmt::Formatter<'b>, fmt::Result);

        impl Visit for Message<'_, '_> {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                if field.name() == MESSAGE {
                    self.1 = fmt::Debug::fmt(value, self.0);
                }
            }

            fn record_str(&mut self, field: &Field, value: &str) {
                if field.name() == MESSAGE {
                    self.1 = self.0.write_str(value);
                }
            }
        }

        let mut message = Message(f, Ok(()));
        self.0.record(&mut message);
        message.1
    }
}

/// The fields of an event, then those of its spans that nothing nearer hides, then their names.
struct EventFields<'a, S>
where
    S: for<'b> LookupSpan<'b>,
{
    event: &'a Event<'a>,
    is_from_log: bool,
    span: Option<SpanRef<'a, S>>,
    layer: u64,
}

impl<S> MoreKeyValues for EventFields<'_, S>
where
    S: for<'b> LookupSpan<'b>,
{
    fn write(&self, into: &mut KeyValueWriter<'_>) {
        self.event.record(&mut EventVisitor { into, is_from_log: self.is_from_log });
        let Some(innermost) = &self.span else { return };
        for span in innermost.scope() {
            if let Some(fields) = span.extensions().get::<FieldsOfLayers>().and_then(|all| all.of(self.layer)) {
                for (key, value) in fields.0.pairs() {
                    if !into.has(key) {
                        into.value(key, value);
                    }
                }
            }
        }
        if !into.has(SPAN) {
            into.text(SPAN, |text| write_names(innermost, text));
        }
    }
}

/// If spans are nested deeper, the outermost names are left out, and `...` replaces them.
const MOST_NAMES: usize = 16;

/// Writes the names from the outermost span to the innermost. Without an allocation, so the way up
/// is walked once for each.
fn write_names<'a, S>(innermost: &SpanRef<'a, S>, text: &mut dyn fmt::Write) -> fmt::Result
where
    S: LookupSpan<'a>,
{
    let depth = innermost.scope().take(MOST_NAMES + 1).count();
    if depth > MOST_NAMES {
        text.write_str("...:")?;
    }
    let depth = depth.min(MOST_NAMES);
    for up in (0..depth).rev() {
        if let Some(span) = innermost.scope().nth(up) {
            text.write_str(span.name())?;
            text.write_str(if up > 0 { ":" } else { "" })?;
        }
    }
    Ok(())
}

/// Returns the name of a key: `r#type` is `type`.
fn key(field: &Field) -> &'static str {
    let name = field.name();
    name.strip_prefix("r#").unwrap_or(name)
}

/// Writes each field of an event but its message, and what `tracing_log` puts there of a record's
/// location.
struct EventVisitor<'a, 'b> {
    into: &'a mut KeyValueWriter<'b>,
    is_from_log: bool,
}

impl SetField for EventVisitor<'_, '_> {
    fn set(&mut self, field: &Field, value: kv::Value<'_>) {
        let key = key(field);
        let of_log = self.is_from_log && matches!(key, "log.target" | "log.module_path" | "log.file" | "log.line");
        if key != MESSAGE && !of_log {
            self.into.any(key, value);
        }
    }
}

/// The fields of a span, with their types.
#[derive(Default)]
struct SpanFields(Fields);

/// The fields of a span for each layer of a registry whose filter wants it.
struct FieldsOfLayers {
    first: (u64, SpanFields),
    others: Vec<(u64, SpanFields)>,
}

impl FieldsOfLayers {
    fn of(&self, layer: u64) -> Option<&SpanFields> {
        let all = [&self.first].into_iter().chain(&self.others);
        all.into_iter().find(|(of, _)| *of == layer).map(|(_, fields)| fields)
    }

    fn of_mut(&mut self, layer: u64) -> Option<&mut SpanFields> {
        let all = [&mut self.first].into_iter().chain(&mut self.others);
        all.into_iter().find(|(of, _)| *of == layer).map(|(_, fields)| fields)
    }
}

impl SetField for SpanFields {
    fn set(&mut self, field: &Field, value: kv::Value<'_>) {
        self.0.set(key(field), value);
    }
}

/// All methods of a visitor of `tracing`, reduced to one.
trait SetField {
    fn set(&mut self, field: &Field, value: kv::Value<'_>);
}

/// The location of a record of `log` that `tracing_log` hands on as an event.
#[derive(Default)]
struct LogLocation {
    target: Option<String>,
    module_path: Option<String>,
    file: Option<String>,
    line: Option<u32>,
}

impl SetField for LogLocation {
    fn set(&mut self, field: &Field, value: kv::Value<'_>) {
        let text = || Some(value.to_string());
        match field.name() {
            "log.target" => self.target = text(),
            "log.module_path" => self.module_path = text(),
            "log.file" => self.file = text(),
            "log.line" => self.line = value.to_u64().and_then(|line| u32::try_from(line).ok()),
            _ => {}
        }
    }
}

/// An error and what it came from, as in `cannot start: no such file`.
struct WithSources<'a>(&'a (dyn Error + 'static));

impl fmt::Display for WithSources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_sources(f, self.0)
    }
}

/// Gives a type all methods of a visitor.
macro_rules! visit {
    ($($visitor:ty),*) => {$(
        impl Visit for $visitor {
            fn record_f64(&mut self, field: &Field, value: f64) {
                self.set(field, value.into());
            }

            fn record_i64(&mut self, field: &Field, value: i64) {
                self.set(field, value.into());
            }

            fn record_u64(&mut self, field: &Field, value: u64) {
                self.set(field, value.into());
            }

            fn record_i128(&mut self, field: &Field, value: i128) {
                self.set(field, value.into());
            }

            fn record_u128(&mut self, field: &Field, value: u128) {
                self.set(field, value.into());
            }

            fn record_bool(&mut self, field: &Field, value: bool) {
                self.set(field, value.into());
            }

            fn record_str(&mut self, field: &Field, value: &str) {
                self.set(field, value.into());
            }

            fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
                self.set(field, kv::Value::from_display(&WithSources(value)));
            }

            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                self.set(field, kv::Value::from_debug(&value));
            }
        }
    )*};
}

visit!(EventVisitor<'_, '_>, SpanFields, LogLocation);
