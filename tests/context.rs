//! Key-values that a record gets from around its log call: the context of the logger, scopes of the
//! thread, scopes of a future.
#![allow(clippy::incompatible_msrv)] // only the library keeps to the oldest compiler
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says by panicking what is wrong

mod support;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::thread;

use log::Log as _;
use log::kv::Value;
use unfazed::{Builder, ContextFields, Format, Handle, Logger};

use support::lines::Lines;

struct Log {
    logger: Logger,
    handle: Handle,
    lines: Lines,
}

impl Log {
    fn new(change: impl FnOnce(Builder) -> Builder) -> Self {
        let lines = Lines::default();
        // Only the message and the key-values.
        let format = Format::custom(|line, record| {
            use std::io::Write as _;
            write!(line, "{}", record.message())?;
            for (key, value) in record.key_values() {
                write!(line, " {key}={value}")?;
            }
            writeln!(line)
        });
        let builder = Builder::new().output(lines.output(format));
        let (logger, handle) = change(builder).build().unwrap();
        Self { logger, handle, lines }
    }

    fn log(&self, message: &str, pairs: &[(&str, Value<'_>)]) {
        let mut record = log::Record::builder();
        record.level(log::Level::Info).target("app").key_values(&pairs);
        self.logger.log(&record.args(format_args!("{message}")).build());
    }

    /// The lines since the last call.
    fn lines(&self) -> Vec<String> {
        self.lines.take(&self.handle).iter().map(|line| line.trim_end().to_owned()).collect()
    }
}

fn nothing(builder: Builder) -> Builder {
    builder
}

#[test]
fn the_key_of_the_call_wins_then_the_innermost_scope_then_the_context() {
    let log = Log::new(|builder| {
        builder.context(|fields: &mut ContextFields<'_, '_>| {
            fields.add("a", "context");
            fields.add("b", "context");
            fields.add("c", "context");
            fields.add("d", "context");
            fields.add("d", "again");
        })
    });
    let _outer = unfazed::scope([("a", "outer"), ("b", "outer"), ("c", "outer")]);
    let _inner = unfazed::scope([("a", "inner"), ("b", "inner")]);
    log.log("m", &[("a", Value::from("call"))]);
    log.log("n", &[]);
    assert_eq!(log.lines(), ["m a=call b=inner c=outer d=context", "n a=inner b=inner c=outer d=context"]);
}

#[test]
fn values_have_their_types_and_any_length() {
    let log = Log::new(|builder| builder.format(Format::logfmt()));
    let long = "x".repeat(5000);
    let _number = unfazed::scope([("request_id", 42), ("tries", -1)]);
    let _mixed = unfazed::scope([("admin", Value::from(true)), ("ratio", Value::from(0.5)), ("long", (&*long).into())]);
    log.log("m", &[]);
    assert_eq!(log.lines(), [format!("m admin=true ratio=0.5 long={long} request_id=42 tries=-1")]);
}

#[test]
fn guards_may_be_dropped_in_any_order() {
    let log = Log::new(nothing);
    let first = unfazed::scope([("k", 1), ("first", 1)]);
    let second = unfazed::scope([("k", 2), ("second", 2)]);
    let third = unfazed::scope([("k", 3)]);
    log.log("all", &[]);
    drop(second);
    log.log("two", &[]);
    drop(first);
    log.log("one", &[]);
    drop(third);
    log.log("none", &[]);
    assert_eq!(log.lines(), ["all k=3 second=2 first=1", "two k=3 first=1", "one k=3", "none"]);
}

#[test]
fn a_scope_holds_for_its_thread_alone() {
    let log = Log::new(nothing);
    let _scope = unfazed::scope([("k", 1)]);
    thread::scope(|scope| scope.spawn(|| log.log("other thread", &[])).join().unwrap());
    assert_eq!(log.lines(), ["other thread"]);
}

#[test]
fn a_record_that_is_refused_asks_for_no_context() {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let log = Log::new(|builder| {
        builder.filter("other=info").level(log::LevelFilter::Off).context(|_| {
            ASKED.fetch_add(1, Relaxed);
        })
    });
    log.log("m", &[]);
    assert_eq!((log.lines().len(), ASKED.load(Relaxed)), (0, 0));
}

#[test]
fn a_context_that_panics_costs_what_it_has_not_added() {
    let log = Log::new(|builder| {
        builder.context(|fields| {
            fields.add("before", 1);
            std::panic::panic_any("on purpose");
        })
    });
    let _scope = unfazed::scope([("k", 1)]);
    log.log("m", &[]);
    log.log("n", &[]);
    assert_eq!(log.lines(), ["m k=1 before=1", "n k=1 before=1"]);
    assert_eq!(log.handle.stats().dropped.total(), 0);
}

/// It left a key `_` without a value, and what the context added after it was lost.
#[test]
fn a_value_that_panics_costs_a_context_that_pair_alone() {
    struct Panics;
    impl std::fmt::Display for Panics {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            std::panic::panic_any("on purpose");
        }
    }
    for catches in [true, false] {
        let log = Log::new(|builder| {
            builder.context(move |fields| {
                fields.add("before", 1);
                let mut add = || fields.add("panics", log::kv::Value::from_display(&Panics));
                match catches {
                    true => drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(add))),
                    false => add(),
                }
                fields.add("after", 2);
            })
        });
        log.log("m", &[]);
        assert_eq!(log.lines(), [if catches { "m before=1 after=2" } else { "m before=1" }]);
    }
}

#[test]
fn a_context_and_a_value_may_log_and_enter_scopes() {
    static LOG: OnceLock<Log> = OnceLock::new();
    struct Logs;
    impl std::fmt::Display for Logs {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let _scope = unfazed::scope([("k", "value")]);
            LOG.get().unwrap().log("from a value", &[]);
            f.write_str("shown")
        }
    }
    let log = LOG.get_or_init(|| {
        Log::new(|builder| {
            builder.context(|fields| {
                let _scope = unfazed::scope([("k", "context")]);
                LOG.get().unwrap().log("from the context", &[]);
                fields.add("node", 7);
            })
        })
    });
    let _scope = unfazed::scope([("k", Value::from_display(&Logs))]);
    assert_eq!(log.lines(), ["from the context k=context", "from a value k=value node=7"]);
    log.log("m", &[]);
    assert_eq!(log.lines(), ["from the context k=context", "m k=shown node=7"]);
}

/// Is ready at the second poll, and logs at each.
struct Twice<'a>(&'a Log, bool);

impl Future for Twice<'_> {
    type Output = &'static str;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<&'static str> {
        self.0.log("poll", &[]);
        if std::mem::replace(&mut self.1, true) { Poll::Ready("done") } else { Poll::Pending }
    }
}

#[test]
fn a_future_is_in_its_scope_at_each_poll_and_nothing_else_is() {
    let log = Log::new(nothing);
    let _outer = unfazed::scope([("outer", 0)]);
    let first = unfazed::scope([("task", 1)]).future(Twice(&log, false));
    let second = unfazed::scope([("task", 2)]).future(async {
        let inner = unfazed::scope([("step", 1)]).future(Twice(&log, false)).await;
        log.log("after", &[]);
        inner
    });
    log.log("between", &[]);
    let (mut first, mut second) = (pin!(first), pin!(second));
    let mut context = Context::from_waker(Waker::noop());
    for ready in [false, true] {
        assert_eq!(first.as_mut().poll(&mut context).is_ready(), ready);
        assert_eq!(second.as_mut().poll(&mut context).is_ready(), ready);
        log.log("between", &[]);
    }
    assert_eq!(
        log.lines(),
        [
            "between outer=0",
            "poll task=1 outer=0",
            "poll step=1 task=2 outer=0",
            "between outer=0",
            "poll task=1 outer=0",
            "poll step=1 task=2 outer=0",
            "after task=2 outer=0",
            "between outer=0",
        ]
    );
}

#[test]
fn a_future_takes_its_scope_to_another_thread_and_leaves_none_when_it_panics() {
    let log = Log::new(nothing);
    let mut future = Box::pin(unfazed::scope([("task", 1)]).future(Twice(&log, false)));
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    thread::scope(|scope| {
        scope.spawn(|| {
            assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
            log.log("other thread", &[]);
        });
    });
    let panics = unfazed::scope([("task", 2)]).future(async { panic!("on purpose") });
    let mut panics = Box::pin(panics);
    let poll = std::panic::AssertUnwindSafe(|| panics.as_mut().poll(&mut Context::from_waker(Waker::noop())));
    assert!(std::panic::catch_unwind(poll).is_err());
    log.log("after a panic", &[]);
    assert_eq!(log.lines(), ["poll task=1", "poll task=1", "other thread", "after a panic"]);
}

#[test]
fn tokio_runs_tasks_in_their_scopes() {
    let log = Arc::new(Log::new(nothing));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let tasks = [1, 2, 3].map(|id| {
            let log = log.clone();
            let task = async move {
                for _ in 0..3 {
                    log.log(&format!("task {id}"), &[]);
                    tokio::task::yield_now().await;
                }
            };
            tokio::spawn(unfazed::scope([("id", id)]).future(task))
        });
        for task in tasks {
            task.await.unwrap();
        }
    });
    let lines = log.lines();
    assert_eq!(lines.len(), 9);
    assert!(lines.iter().all(|line| line[5..6] == line[10..11]), "{lines:?}");
}

#[test]
fn a_destructor_of_a_thread_local_may_log_and_enter_a_scope() {
    static LOG: OnceLock<Log> = OnceLock::new();
    struct AtTheEnd;
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            let _scope = unfazed::scope([("k", "maybe")]);
            LOG.get().unwrap().log("the end", &[]);
        }
    }
    thread_local! { static LATE: AtTheEnd = const { AtTheEnd }; }
    LOG.get_or_init(|| Log::new(nothing));
    for early in [true, false] {
        thread::spawn(move || {
            let enter = || drop(unfazed::scope([("k", 1)]));
            if early {
                LATE.with(|_| {});
                enter();
            } else {
                enter();
                LATE.with(|_| {});
            }
        })
        .join()
        .unwrap();
    }
    let lines = LOG.get().unwrap().lines();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.starts_with("the end")), "{lines:?}");
}
