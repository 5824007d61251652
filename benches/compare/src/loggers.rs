//! The loggers, each set up as its documentation recommends for a program that logs to one file at
//! INFO.
//!
//! All lines have a time, the level and the message. A second set-up drops nothing when the queue
//! is full, where the first one would.

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use log::LevelFilter;

use crate::limit;
use crate::work::Front;

/// What happens when records come faster than they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// What the logger does by default.
    Default,
    /// No record may be lost: the call waits.
    Wait,
}

/// A logger that runs.
pub struct Running {
    pub front: Front,
    /// Waits for the logger to have written everything, as far as it offers that.
    pub finish: Box<dyn FnOnce()>,
    /// How many records arrived, from the only one that writes no file.
    pub arrived: Option<fn() -> u64>,
}

type Start = fn(&Path, Full) -> Result<Running, Box<dyn Error>>;

pub struct Logger {
    pub name: &'static str,
    /// What its set-up is, for the reader of the table.
    pub setup: &'static str,
    /// Whether its default set-up may drop records when they come too fast.
    pub drops: bool,
    pub start: Start,
}

pub const LIMIT: &str = "limit";
pub const STORED_LIMIT: &str = "limit-stored";
pub const OURS: &str = "unfazed";
pub const OUR_MACROS: &str = "unfazed-macros";

/// Returns true for what is no logger, and writes nothing.
pub fn is_limit(name: &str) -> bool {
    [LIMIT, STORED_LIMIT].contains(&name)
}

/// Returns true for a set-up of this crate, whichever macros call it.
pub fn is_ours(name: &str) -> bool {
    name.starts_with(OURS)
}

pub const ALL: &[Logger] = &[
    Logger {
        name: LIMIT,
        setup: "format, clock and one try_send of 128 bytes; the receiver looks every ms and writes nothing",
        drops: true,
        start: limit,
    },
    Logger {
        name: STORED_LIMIT,
        setup: "the processor's counter, the arguments by their bytes and one try_send of 256 bytes; the same receiver",
        drops: true,
        start: limit_stored,
    },
    Logger { name: OURS, setup: "defaults; no-drop: Overflow::Block", drops: true, start: unfazed },
    Logger {
        name: OUR_MACROS,
        setup: "the same, by unfazed's own macros, whose messages the writer lays out",
        drops: true,
        start: unfazed_macros,
    },
    Logger {
        name: "unfazed-layer",
        setup: "unfazed::tracing::layer on a registry, tracing's own macros; no-drop: Overflow::Block",
        drops: true,
        start: unfazed_layer,
    },
    Logger {
        name: "unfazed-writer",
        setup: "unfazed::tracing::writer under tracing-subscriber's fmt, tracing's own macros; no-drop: Overflow::Block",
        drops: true,
        start: unfazed_writer,
    },
    Logger {
        name: "tracing",
        setup: "tracing-appender non_blocking under tracing-subscriber's fmt, tracing's own macros; no-drop: lossy(false)",
        drops: true,
        start: tracing_macros,
    },
    Logger { name: "tracing-log", setup: "the same, through the log macros", drops: true, start: tracing_log },
    Logger {
        name: "flexi-async",
        setup: "flexi_logger WriteMode::Async, detailed_format; its channel is unbounded",
        drops: false,
        start: flexi_async,
    },
    Logger {
        name: "flexi-buffered",
        setup: "flexi_logger WriteMode::BufferAndFlush, detailed_format; synchronous",
        drops: false,
        start: flexi_buffered,
    },
    Logger {
        name: "spdlog",
        setup: "spdlog-rs AsyncPoolSink over a FileSink, through its log proxy, flushed each second; it waits when full",
        drops: false,
        start: spdlog,
    },
    Logger {
        name: "fast_log",
        setup: "chan_len(100000), as it recommends; it waits when full",
        drops: false,
        start: fast_log,
    },
    Logger {
        name: "ftlog",
        setup: "defaults, fixed time zone; no-drop: bounded(100000, true)",
        drops: true,
        start: ftlog,
    },
    Logger {
        name: "logforth",
        setup: "Async append over a File, text layout; its channel is unbounded",
        drops: false,
        start: logforth,
    },
    Logger {
        name: "slog-async",
        setup: "slog-term FullFormat under slog-async, through slog-stdlog; no-drop: OverflowStrategy::Block",
        drops: true,
        start: slog,
    },
    Logger { name: "log4rs", setup: "FileAppender, default pattern; synchronous", drops: false, start: log4rs },
    Logger { name: "env_logger", setup: "Target::Pipe of a file; synchronous", drops: false, start: env_logger },
    Logger { name: "fern", setup: "the README's format, log_file; synchronous", drops: false, start: fern },
];

pub fn find(name: &str) -> Option<&'static Logger> {
    ALL.iter().find(|logger| logger.name == name)
}

fn running(front: Front, finish: impl FnOnce() + 'static) -> Result<Running, Box<dyn Error>> {
    Ok(Running { front, finish: Box::new(finish), arrived: None })
}

fn flush() {
    log::logger().flush();
}

fn limit(_: &Path, full: Full) -> Result<Running, Box<dyn Error>> {
    limit::start(full == Full::Wait)?;
    Ok(Running { front: Front::Log, finish: Box::new(limit::finish), arrived: Some(limit::arrived) })
}

fn limit_stored(_: &Path, full: Full) -> Result<Running, Box<dyn Error>> {
    limit::start_stored(full == Full::Wait);
    Ok(Running { front: Front::Stored, finish: Box::new(limit::finish), arrived: Some(limit::arrived) })
}

fn unfazed_handle(file: &Path, full: Full) -> Result<unfazed::Handle, Box<dyn Error>> {
    let mut builder = unfazed::Builder::new().file(file);
    if full == Full::Wait {
        builder = builder.overflow(unfazed::Overflow::Block);
    }
    Ok(builder.init()?)
}

fn unfazed_running(front: Front, handle: unfazed::Handle) -> Result<Running, Box<dyn Error>> {
    running(front, move || {
        if let Err(error) = handle.shutdown(Duration::from_secs(60)) {
            eprintln!("unfazed: {error}");
        }
    })
}

fn unfazed(file: &Path, full: Full) -> Result<Running, Box<dyn Error>> {
    unfazed_running(Front::Log, unfazed_handle(file, full)?)
}

fn unfazed_macros(file: &Path, full: Full) -> Result<Running, Box<dyn Error>> {
    unfazed_running(Front::Unfazed, unfazed_handle(file, full)?)
}

fn unfazed_layer(file: &Path, full: Full) -> Result<Running, Box<dyn Error>> {
    let handle = unfazed_handle(file, full)?;
    unfazed::tracing::init(&handle)?;
    unfazed_running(Front::Tracing, handle)
}

fn unfazed_writer(file: &Path, full: Full) -> Result<Running, Box<dyn Error>> {
    let handle = unfazed_handle(file, full)?;
    let writer = unfazed::tracing::writer(&handle);
    // Not its `init`, which also installs a logger for `log`.
    tracing::subscriber::set_global_default(tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish())?;
    unfazed_running(Front::Tracing, handle)
}

fn tracing_writer(file: &Path, full: Full) -> Result<Box<dyn FnOnce()>, Box<dyn Error>> {
    let builder = tracing_appender::non_blocking::NonBlockingBuilder::default().lossy(full == Full::Default);
    let (writer, guard) = builder.finish(File::create(file)?);
    tracing_subscriber::fmt().with_ansi(false).with_writer(writer).init();
    Ok(Box::new(move || drop(guard)))
}

fn tracing_macros(file: &Path, full: Full) -> Result<Running, Box<dyn Error>> {
    running(Front::Tracing, tracing_writer(file, full)?)
}

fn tracing_log(file: &Path, full: Full) -> Result<Running, Box<dyn Error>> {
    running(Front::Log, tracing_writer(file, full)?)
}

fn flexi(file: &Path, mode: flexi_logger::WriteMode) -> Result<Running, Box<dyn Error>> {
    let handle = flexi_logger::Logger::try_with_str("info")?
        .log_to_file(flexi_logger::FileSpec::try_from(file)?)
        .format(flexi_logger::detailed_format)
        .write_mode(mode)
        .start()?;
    running(Front::Log, move || handle.shutdown())
}

fn flexi_async(file: &Path, _: Full) -> Result<Running, Box<dyn Error>> {
    flexi(file, flexi_logger::WriteMode::Async)
}

fn flexi_buffered(file: &Path, _: Full) -> Result<Running, Box<dyn Error>> {
    flexi(file, flexi_logger::WriteMode::BufferAndFlush)
}

fn spdlog(file: &Path, _: Full) -> Result<Running, Box<dyn Error>> {
    use spdlog::sink::{AsyncPoolSink, FileSink};
    let file = FileSink::builder().path(file).build_arc()?;
    let pool = AsyncPoolSink::builder().sink(file).build_arc()?;
    let logger = spdlog::Logger::builder().sink(pool).build_arc()?;
    logger.set_flush_period(Some(Duration::from_secs(1)));
    spdlog::init_log_crate_proxy()?;
    spdlog::log_crate_proxy().set_logger(Some(logger));
    log::set_max_level(LevelFilter::Info);
    running(Front::Log, flush)
}

fn fast_log(file: &Path, _: Full) -> Result<Running, Box<dyn Error>> {
    let file = file.to_str().ok_or("the path is not UTF-8")?;
    fast_log::init(fast_log::Config::new().level(LevelFilter::Info).file(file).chan_len(Some(100_000)))?;
    running(Front::Log, flush)
}

fn ftlog(file: &Path, full: Full) -> Result<Running, Box<dyn Error>> {
    let guard = ftlog::builder()
        .max_log_level(LevelFilter::Info)
        .bounded(100_000, full == Full::Wait)
        .root(ftlog::appender::FileAppender::builder().path(file).build())
        .utc()
        .try_init()?;
    running(Front::Log, move || drop(guard))
}

fn logforth(file: &Path, _: Full) -> Result<Running, Box<dyn Error>> {
    use logforth::append::{asynchronous::AsyncBuilder, file::FileBuilder};
    use logforth::record::{Level, LevelFilter};
    let directory = file.parent().ok_or("no directory")?;
    let name = file.file_name().and_then(|name| name.to_str()).ok_or("the name is not UTF-8")?;
    let file = FileBuilder::new(directory, name).layout(logforth::layout::TextLayout::default().no_color()).build()?;
    let append = AsyncBuilder::new("logforth").append(file).build();
    logforth::starter_log::builder()
        .dispatch(|dispatch| dispatch.filter(LevelFilter::MoreSevereEqual(Level::Info)).append(append))
        .apply();
    log::set_max_level(log::LevelFilter::Info);
    running(Front::Log, flush)
}

fn slog(file: &Path, full: Full) -> Result<Running, Box<dyn Error>> {
    use slog::Drain;
    let decorator = slog_term::PlainDecorator::new(File::create(file)?);
    let drain = slog_term::FullFormat::new(decorator).build().fuse();
    let mut builder = slog_async::Async::new(drain);
    if full == Full::Wait {
        builder = builder.overflow_strategy(slog_async::OverflowStrategy::Block);
    }
    let (drain, guard) = builder.build_with_guard();
    let logger = slog::Logger::root(drain.fuse(), slog::o!());
    let scope = slog_scope::set_global_logger(logger);
    slog_stdlog::init_with_level(log::Level::Info)?;
    running(Front::Slog, move || {
        drop(scope);
        drop(guard);
    })
}

fn log4rs(file: &Path, _: Full) -> Result<Running, Box<dyn Error>> {
    use log4rs::append::file::FileAppender;
    use log4rs::config::{Appender, Config, Root};
    let appender = Appender::builder().build("file", Box::new(FileAppender::builder().build(file)?));
    let config = Config::builder().appender(appender);
    log4rs::init_config(config.build(Root::builder().appender("file").build(LevelFilter::Info))?)?;
    running(Front::Log, flush)
}

fn env_logger(file: &Path, _: Full) -> Result<Running, Box<dyn Error>> {
    let target = env_logger::Target::Pipe(Box::new(File::create(file)?));
    env_logger::Builder::new().filter_level(LevelFilter::Info).target(target).try_init()?;
    running(Front::Log, flush)
}

fn fern(file: &Path, _: Full) -> Result<Running, Box<dyn Error>> {
    fern::Dispatch::new()
        .format(|out, message, record| {
            out.finish(format_args!(
                "[{} {} {}] {}",
                humantime::format_rfc3339(std::time::SystemTime::now()),
                record.level(),
                record.target(),
                message
            ))
        })
        .level(LevelFilter::Info)
        .chain(fern::log_file(file)?)
        .apply()?;
    running(Front::Log, flush)
}
