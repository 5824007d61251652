//! `unfazed::tracing`: what events become, in real files, and what `tracing`'s own crates see.
#![allow(clippy::incompatible_msrv)] // only the library keeps to the oldest compiler
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says by panicking what is wrong

use std::fmt;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
#[cfg(unix)]
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use log::Log as _;
use serde_json::Value;
use tracing::{Subscriber, debug, error, field, info, info_span, warn};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use unfazed::{Builder, Format, Handle, LogFile, Logger};

struct Logged {
    folder: tempfile::TempDir,
    logger: Logger,
    handle: Handle,
}

impl Logged {
    fn new(format: Format, change: impl FnOnce(Builder) -> Builder) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = LogFile::new(folder.path().join("app.log")).format(format);
        let (logger, handle) = change(Builder::new().file(file)).build().unwrap();
        Self { folder, logger, handle }
    }

    fn run(&self, events: impl FnOnce()) {
        let subscriber = tracing_subscriber::registry().with(unfazed::tracing::layer(&self.handle));
        tracing::subscriber::with_default(subscriber, events);
    }

    fn text(&self) -> String {
        self.handle.flush(Duration::from_secs(10)).unwrap();
        fs::read_to_string(self.path()).unwrap()
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("app.log")
    }

    fn json(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn lines_of_text(logged: &Logged) -> Vec<String> {
    logged.text().lines().map(str::to_owned).collect()
}

fn json() -> Logged {
    Logged::new(Format::json(), |builder| builder.level(log::LevelFilter::Trace))
}

#[test]
fn fields_keep_their_types_and_an_error_its_sources() {
    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);
    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bad port")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    let logged = json();
    let error = Outer("x".parse::<u16>().unwrap_err());
    logged.run(|| {
        info!(
            count = 7,
            big = u64::MAX,
            huge = u128::MAX,
            half = 0.5,
            yes = true,
            name = "Ada",
            shown = %1.25,
            debugged = ?[1, 2],
            r#type = "raw",
            error = &error as &dyn std::error::Error,
            empty = tracing::field::Empty,
            "served {}", "it"
        );
        warn!(target: "audit", user = "u");
    });
    let lines = logged.json();
    let first = &lines[0];
    assert_eq!(first["message"], "served it");
    assert_eq!(first["level"], "INFO");
    assert_eq!(first["target"], "tracing");
    assert_eq!(first["count"], 7);
    assert_eq!(first["big"], u64::MAX);
    assert!(lines_of_text(&logged)[0].contains(&format!("\"huge\":{},", u128::MAX)), "a number with all its digits");
    assert_eq!(first["half"], 0.5);
    assert_eq!(first["yes"], true);
    assert_eq!(first["name"], "Ada");
    assert_eq!(first["shown"], "1.25");
    assert_eq!(first["debugged"], "[1, 2]");
    assert_eq!(first["type"], "raw");
    assert!(first["error"].to_string().contains("bad port") && first["error"].to_string().contains("invalid digit"));
    assert!(first.get("empty").is_none() && first.get("span").is_none(), "{first}");
    assert_eq!((&lines[1]["target"], &lines[1]["message"]), (&"audit".into(), &"".into()));
    assert_eq!(lines.len(), 2);
    assert_eq!(logged.handle.stats().written, 2);
}

#[test]
fn a_record_has_the_place_of_its_event() {
    let logged = Logged::new(Format::json().location(), |builder| builder);
    logged.run(|| info!("here"));
    let line = line!() - 1;
    let record = &logged.json()[0];
    assert_eq!((&record["file"], &record["line"]), (&"tests/tracing.rs".into(), &line.into()));
}

#[test]
fn of_two_fields_with_one_name_the_nearest_and_the_latest_counts() {
    let logged = json();
    logged.run(|| {
        let outer = info_span!("request", id = 1, user = "outer", status = tracing::field::Empty, only_outer = true);
        let _outer = outer.enter();
        let inner = info_span!("query", user = "inner", id = 2);
        let _inner = inner.enter();
        outer.record("status", 100);
        outer.record("status", 200);
        info!(id = 3, "served");
        info!(status = 404, "not found");
    });
    let lines = logged.json();
    let first = &lines[0];
    assert_eq!(
        (&first["id"], &first["user"], &first["status"], &first["only_outer"], &first["span"]),
        (&3.into(), &"inner".into(), &200.into(), &true.into(), &"request:query".into())
    );
    assert_eq!((&lines[1]["id"], &lines[1]["status"]), (&2.into(), &404.into()));
    for key in ["\"id\"", "\"user\"", "\"status\""] {
        assert_eq!(logged.text().lines().next().unwrap().matches(key).count(), 1, "{key}");
    }
}

#[test]
fn a_value_that_is_recorded_again_and_again_takes_no_more_room() {
    let logged = json();
    logged.run(|| {
        let span = info_span!("loop", round = 0, note = tracing::field::Empty);
        let _span = span.enter();
        for round in 1..=100_000u64 {
            span.record("round", round).record("note", "x".repeat(round as usize % 7));
        }
        info!("done");
    });
    let line = &logged.json()[0];
    assert_eq!((&line["round"], &line["note"]), (&100_000.into(), &"xxxxx".into()));
}

/// The value was recorded under the lock of its span. A `Debug` that logged waited for that lock
/// for ever; after one that had panicked, each event in the span panicked.
#[test]
fn a_recorded_value_whose_debug_logs_or_panics_does_no_harm_to_its_span() {
    struct Runs(fn());
    impl fmt::Debug for Runs {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0();
            f.write_str("shown")
        }
    }

    let (done, ended) = mpsc::channel();
    let thread = thread::spawn(move || {
        let logged = json();
        logged.run(|| {
            let span = info_span!("request", id = 7, note = "before", other = tracing::field::Empty);
            let _span = span.enter();
            let panics = Runs(|| panic!("on purpose"));
            catch_unwind(AssertUnwindSafe(|| _ = span.record("note", field::debug(panics)))).unwrap_err();
            info!("after the panic");
            span.record("other", field::debug(Runs(|| info!("from the value"))));
            info!("done");
        });
        done.send(logged.json()).unwrap();
    });
    let lines = ended.recv_timeout(Duration::from_secs(60)).expect("the thread panics, or waits for itself");
    thread.join().unwrap();
    let got: Vec<_> = lines.iter().map(|line| (&line["message"], &line["id"], &line["note"], &line["other"])).collect();
    let (id, note) = (&7.into(), &"before".into());
    assert_eq!(got[0], (&"after the panic".into(), id, note, &Value::Null));
    assert_eq!(got[1], (&"from the value".into(), id, note, &Value::Null));
    assert_eq!(got[2..], [(&"done".into(), id, note, &"shown".into())]);
}

#[test]
fn records_of_both_facades_stand_in_one_order() {
    let logged = json();
    logged.run(|| {
        for number in 0..500 {
            info!(number, "tracing");
            let args = format_args!("log");
            logged.logger.log(&log::Record::builder().level(log::Level::Info).target("app").args(args).build());
        }
    });
    let lines = logged.json();
    assert_eq!(lines.len(), 1000);
    for (number, pair) in lines.chunks(2).enumerate() {
        assert_eq!((&pair[0]["number"], &pair[1]["message"]), (&number.into(), &"log".into()));
    }
}

/// Counts what reaches another layer of the same subscriber.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicUsize>);

impl<S: Subscriber> Layer<S> for Counter {
    fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn the_filter_is_this_layers_alone_and_follows_the_handle() {
    let logged = Logged::new(Format::json(), |builder| builder.level(log::LevelFilter::Info));
    let (counter, evaluated) = (Counter::default(), AtomicUsize::new(0));
    let event = || debug!(n = evaluated.fetch_add(1, SeqCst), "debug");
    let both = tracing_subscriber::registry().with(unfazed::tracing::layer(&logged.handle)).with(counter.clone());
    tracing::subscriber::with_default(both, || {
        event();
        assert_eq!((counter.0.load(SeqCst), logged.handle.stats().accepted), (1, 0));
        logged.handle.set_filter("debug").unwrap();
        event();
        assert_eq!((counter.0.load(SeqCst), logged.handle.stats().accepted), (2, 1));
        logged.handle.set_filter("tracing=off").unwrap();
        event();
        assert_eq!((counter.0.load(SeqCst), logged.handle.stats().accepted), (3, 1));
    });
}

/// Returns true in a process of the test's own. Otherwise runs the test in such a process.
fn is_alone(test: &str) -> bool {
    const ALONE: &str = "UNFAZED_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut alone = Command::new(std::env::current_exe().unwrap());
    let ended = alone.args(["--exact", test]).env(ALONE, "1").output().unwrap();
    let printed = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && printed.contains("1 passed"), "{printed}");
    false
}

/// `tracing` asked the default subscriber of that thread, which had none: each call site that had
/// logged was silent from then on, and no account showed it.
#[test]
fn a_filter_that_another_thread_changes_silences_no_call_site() {
    if !is_alone("a_filter_that_another_thread_changes_silences_no_call_site") {
        return;
    }
    let logged = Logged::new(Format::json(), |builder| builder.level(log::LevelFilter::Info));
    let log = || {
        error!("an error");
        debug!("a detail");
    };
    logged.run(|| {
        log();
        for (level, count) in [("debug", 3), ("info", 4)] {
            thread::scope(|scope| drop(scope.spawn(|| logged.handle.set_filter(level).unwrap())));
            log();
            assert_eq!(logged.handle.stats().accepted, count, "{level}");
        }
    });
    // A logger without a layer leaves the subscribers of the program alone.
    let other = Logged::new(Format::json(), |builder| builder.level(log::LevelFilter::Info));
    logged.run(|| {
        log();
        thread::scope(|scope| drop(scope.spawn(|| other.handle.set_filter("off").unwrap())));
        log();
    });
    assert_eq!(logged.handle.stats().accepted, 6);
}

/// The logger knew only the last subscriber that had a layer of it, and asked nobody once that one
/// was gone: what a change enabled never arrived.
#[test]
fn a_second_subscriber_that_has_come_and_gone_keeps_no_change_from_the_first() {
    if !is_alone("a_second_subscriber_that_has_come_and_gone_keeps_no_change_from_the_first") {
        return;
    }
    let logged = Logged::new(Format::json(), |builder| builder.level(log::LevelFilter::Info));
    unfazed::tracing::init(&logged.handle).unwrap();
    let log = || debug!("a detail");
    log();
    unfazed::tracing::init(&logged.handle).unwrap_err();
    logged.handle.set_filter("debug").unwrap();
    log();
    assert_eq!(logged.handle.stats().accepted, 1);
}

/// `tracing-core` panicked: the default subscriber of a thread cannot be set within an event.
#[test]
fn a_filter_may_change_within_an_event() {
    struct Changes(unfazed::Handle);
    impl fmt::Debug for Changes {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.set_filter("debug").unwrap();
            f.write_str("changed")
        }
    }

    if !is_alone("a_filter_may_change_within_an_event") {
        return;
    }
    let logged = Logged::new(Format::json(), |builder| builder.level(log::LevelFilter::Info));
    logged.run(|| {
        let log = || debug!("a detail");
        log();
        info!(filter = ?Changes(logged.handle.clone()), "an event");
        log();
    });
    assert_eq!(logged.handle.stats().accepted, 2);
}

/// At the end of a thread `tracing` has no default subscriber: each call site of the process was
/// silent from then on.
#[test]
fn a_filter_that_ends_with_its_thread_silences_no_call_site() {
    thread_local!(static PUSHED: std::cell::Cell<Option<unfazed::FilterGuard>> = const { std::cell::Cell::new(None) });
    if !is_alone("a_filter_that_ends_with_its_thread_silences_no_call_site") {
        return;
    }
    let logged = Logged::new(Format::json(), |builder| builder.level(log::LevelFilter::Info));
    logged.run(|| {
        let log = || error!("an error");
        log();
        let handle = logged.handle.clone();
        thread::spawn(move || {
            PUSHED.with(|pushed| pushed.set(Some(handle.push_filter("debug").unwrap())));
            // The state of `tracing` in this thread, which goes first.
            error!("for nobody");
        })
        .join()
        .unwrap();
        log();
    });
    assert_eq!((logged.handle.stats().accepted, &*logged.handle.filter()), (2, "info"));
}

/// Of two threads that changed the filter at once, one left call sites with the verdict from before
/// the change of the other.
#[test]
fn call_sites_agree_with_the_filter_after_many_changes_at_once() {
    if !is_alone("call_sites_agree_with_the_filter_after_many_changes_at_once") {
        return;
    }
    let logged = Logged::new(Format::json(), |builder| builder.level(log::LevelFilter::Info));
    unfazed::tracing::init(&logged.handle).unwrap();
    let log = || debug!("a detail");
    log();
    for round in 0..5_000 {
        let start = std::sync::Barrier::new(2);
        let change = |level| {
            start.wait();
            logged.handle.set_filter(level).unwrap();
        };
        thread::scope(|scope| {
            scope.spawn(|| change("info"));
            change("debug");
        });
        let accepted = logged.handle.stats().accepted;
        log();
        let took = logged.handle.stats().accepted > accepted;
        assert_eq!(took, logged.handle.filter() == "debug", "round {round}");
    }
}

/// `tracing` keeps one verdict for a call site and all subscribers of the process, so this case has
/// a process of its own.
#[test]
fn what_is_disabled_does_not_evaluate_its_fields() {
    if !is_alone("what_is_disabled_does_not_evaluate_its_fields") {
        return;
    }
    let logged = Logged::new(Format::json(), |builder| builder.level(log::LevelFilter::Info));
    let evaluated = AtomicUsize::new(0);
    logged.run(|| {
        for round in 0..4 {
            logged.handle.set_filter(if round % 2 == 0 { "info" } else { "debug" }).unwrap();
            debug!(n = evaluated.fetch_add(1, SeqCst), "debug");
        }
    });
    assert_eq!((evaluated.load(SeqCst), logged.handle.stats().accepted), (2, 2));
    // Neither does what a directive refuses whose level others have; and `tracing` knows the
    // highest level, so that what is above it costs one comparison.
    logged.run(|| {
        logged.handle.set_filter("info,other=debug").unwrap();
        let highest = tracing::level_filters::LevelFilter::current();
        assert_eq!(highest, tracing::level_filters::LevelFilter::DEBUG);
        debug!(n = evaluated.fetch_add(1, SeqCst), "debug");
    });
    assert_eq!((evaluated.load(SeqCst), logged.handle.stats().accepted), (2, 2));
}

#[test]
fn a_span_that_the_filter_does_not_want_has_no_fields() {
    let logged = Logged::new(Format::json(), |builder| builder.level(log::LevelFilter::Info));
    logged.run(|| {
        let _outer = info_span!("outer", a = 1).entered();
        let _hidden = tracing::debug_span!("hidden", b = 2).entered();
        info!("event");
    });
    let line = &logged.json()[0];
    assert_eq!((&line["a"], line.get("b"), &line["span"]), (&1.into(), None, &"outer".into()));
}

/// The second one panicked at the first span of the program.
#[test]
fn each_layer_of_a_registry_has_the_fields_of_the_spans_that_its_filter_wants() {
    let (all, few) = (json(), Logged::new(Format::json(), |builder| builder.filter("outer=off")));
    let layers = || unfazed::tracing::layer(&all.handle).and_then(unfazed::tracing::layer(&few.handle));
    let subscriber = tracing_subscriber::registry().with(layers()).with(unfazed::tracing::layer(&all.handle));
    tracing::subscriber::with_default(subscriber, || {
        let outer = info_span!(target: "outer", "outer", user = 1, late = field::Empty).entered();
        let _inner = info_span!(target: "inner", "inner", id = 2).entered();
        outer.record("late", 3);
        info!(target: "inner", "an event");
    });
    let of_all = all.json();
    assert_eq!(of_all.len(), 2, "the layer is there twice");
    for event in of_all {
        assert_eq!((&event["user"], &event["id"], &event["late"]), (&1.into(), &2.into(), &3.into()), "{event}");
        assert_eq!(event["span"], "outer:inner");
    }
    let [event] = &few.json()[..] else { panic!("one event") };
    assert_eq!((event.get("user"), event.get("late"), &event["id"]), (None, None, &2.into()), "{event}");
    assert_eq!(event["span"], "inner");
}

#[test]
fn of_many_spans_the_innermost_are_named_and_the_others_are_not_forgotten() {
    let logged = json();
    logged.run(|| {
        let names = |few: usize| vec!["s"; few].join(":");
        for (depth, expected) in
            [(16, names(16)), (17, format!("...:{}", names(16))), (40, format!("...:{}", names(16)))]
        {
            let spans: Vec<_> = (0..depth).map(|_| info_span!("s").entered()).collect();
            info!(expected, "deep");
            spans.into_iter().rev().for_each(drop);
        }
    });
    let lines = logged.json();
    assert_eq!(lines.len(), 3);
    lines.iter().for_each(|line| assert_eq!(line["span"], line["expected"]));
}

#[test]
fn fields_that_are_called_as_those_of_tracing_log_stay_in_any_other_event() {
    let logged = json();
    logged.run(|| info!({ log.line = 7, log.file = "f", log.target = "t" }, "an event of the program"));
    let line = &logged.json()[0];
    assert_eq!((&line["log.line"], &line["log.file"], &line["log.target"]), (&7.into(), &"f".into(), &"t".into()));
}

#[test]
fn records_that_come_by_tracing_log_have_their_own_target_and_place() {
    let logged = Logged::new(Format::json().location(), |builder| builder.filter("info,noisy=off"));
    logged.run(|| {
        let tracer = tracing_log::LogTracer::new();
        let mut record = log::Record::builder();
        record.level(log::Level::Warn).module_path(Some("app::db")).file(Some("src/db.rs")).line(Some(17));
        tracer.log(&record.target("app::db").args(format_args!("slow")).build());
        tracer.log(&record.target("noisy").args(format_args!("noise")).build());
    });
    let lines = logged.json();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((&lines[0]["target"], &lines[0]["message"]), (&"app::db".into(), &"slow".into()));
    assert_eq!((&lines[0]["file"], &lines[0]["line"]), (&"src/db.rs".into(), &17.into()));
    assert!(!logged.text().contains("log."), "{}", logged.text());
}

#[test]
fn an_explicit_parent_counts_and_not_the_current_span() {
    let logged = json();
    logged.run(|| {
        let parent = info_span!("parent", a = 1);
        let _current = info_span!("current", b = 2).entered();
        info!(parent: &parent, "child");
        info!(parent: None, "root");
    });
    let lines = logged.json();
    assert_eq!((&lines[0]["a"], lines[0].get("b"), &lines[0]["span"]), (&1.into(), None, &"parent".into()));
    assert!(lines[1].get("span").is_none());
}

#[test]
fn after_the_end_an_event_is_counted_and_nothing_happens() {
    let Logged { folder: _folder, logger, handle } = json();
    let subscriber = tracing_subscriber::registry().with(unfazed::tracing::layer(&handle));
    tracing::subscriber::with_default(subscriber, || {
        error!("before");
        drop(logger);
        error!("after");
    });
    let stats = handle.stats();
    assert_eq!((stats.written, stats.dropped.shutdown), (1, 1), "{stats:?}");
}

fn lines_of(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn lines_of_fmt_are_written_as_they_are_from_any_number_of_threads() {
    let logged = Logged::new(Format::text(), |builder| builder.overflow(unfazed::Overflow::Block));
    let writer = unfazed::tracing::writer(&logged.handle);
    let subscriber = tracing_subscriber::fmt().json().with_writer(writer).finish();
    let dispatch = tracing::Dispatch::new(subscriber);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let dispatch = dispatch.clone();
            scope.spawn(move || {
                tracing::dispatcher::with_default(&dispatch, || {
                    for number in 0..1000 {
                        info!(thread, number, text = "two\nlines", "line");
                    }
                });
            });
        }
    });
    logged.handle.flush(Duration::from_secs(10)).unwrap();
    let lines = lines_of(&logged.path());
    assert_eq!((lines.len(), logged.handle.stats().written), (4000, 4000));
    for thread in 0..4 {
        let own = lines.iter().filter(|line| line["fields"]["thread"] == thread);
        let numbers: Vec<_> = own.map(|line| line["fields"]["number"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
    }
}

#[test]
fn lines_of_fmt_go_to_the_outputs_that_want_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| LogFile::new(folder.path().join(name));
    let is_access = |metadata: &log::Metadata<'_>| metadata.target() == "access";
    let builder = Builder::new().file(file("all.log")).file(file("errors.log").level(log::LevelFilter::Error));
    let builder =
        builder.file(file("app.log").filter("info,access=off")).file(file("access.log").filter("access=info"));
    let builder = builder.file(file("text.log").filter("/GET")).file(file("closure.log").filter_with(is_access));
    let (_logger, handle) = builder.build().unwrap();
    let subscriber = tracing_subscriber::fmt()
        .without_time()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(unfazed::tracing::writer(&handle))
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        error!("bad");
        debug!("detail");
        info!(target: "access", "GET /");
        debug!(target: "access", "headers");
    });
    handle.flush(Duration::from_secs(10)).unwrap();
    let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let [bad, detail] = ["ERROR tracing: bad\n", "DEBUG tracing: detail\n"];
    let [get, headers] = [" INFO access: GET /\n", "DEBUG access: headers\n"];
    assert_eq!(text("all.log"), [bad, detail, get, headers].concat());
    assert_eq!((&*text("errors.log"), &*text("app.log")), (bad, bad));
    assert_eq!((&*text("access.log"), &*text("text.log")), (get, get));
    assert_eq!(text("closure.log"), [get, headers].concat());
}

#[cfg(target_os = "linux")]
#[test]
fn lines_of_fmt_for_a_full_disk_are_counted_and_no_call_fails() {
    use std::io::Write as _;
    use tracing_subscriber::fmt::MakeWriter as _;

    let (_logger, handle) = Builder::new().file("/dev/full").build().unwrap();
    let writer = unfazed::tracing::writer(&handle);
    for _ in 0..1000 {
        writer.make_writer().write_all(b"a line\n").unwrap();
    }
    let _ = handle.flush(Duration::from_secs(10));
    let stats = handle.stats();
    assert_eq!((stats.accepted, stats.written, stats.dropped.total() + stats.pending), (1000, 0, 1000), "{stats:?}");
}

/// Its level is asked for while `tracing-core` holds a lock.
#[cfg(unix)]
struct SlowSubscriber {
    is_asked: mpsc::Sender<()>,
    answer: Mutex<mpsc::Receiver<()>>,
}

#[cfg(unix)]
impl Subscriber for SlowSubscriber {
    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        self.is_asked.send(()).unwrap();
        let _ = self.answer.lock().unwrap().recv();
        None
    }

    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        false
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// Runs `life` in a forked child, which has to end within a minute.
#[cfg(unix)]
#[allow(unsafe_code)]
fn assert_forked(life: impl FnOnce() -> bool) {
    // SAFETY: the child goes on with this test alone, on the only thread it has, and ends without
    // returning; neither `alarm`, `_exit` nor `waitpid` keeps a pointer.
    let (pid, status) = unsafe {
        let (pid, mut status) = (libc::fork(), 0);
        if pid == 0 {
            libc::alarm(60);
            let is_good = catch_unwind(AssertUnwindSafe(life)).unwrap_or(false);
            libc::_exit(if is_good { 0 } else { 1 });
        }
        assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
        (pid, status)
    };
    assert_eq!(status, 0, "of the child {pid}");
}

/// A configuration that the child's writer followed made it wait for a thread of the parent, for
/// ever, and so did `Handle::set_filter`.
#[cfg(unix)]
#[test]
fn a_child_that_is_forked_while_a_subscriber_is_made_can_change_its_filter() {
    if !is_alone("a_child_that_is_forked_while_a_subscriber_is_made_can_change_its_filter") {
        return;
    }
    let logged = Logged::new(Format::json(), |builder| builder.level(log::LevelFilter::Info));
    let handle = &logged.handle;
    // A call site that is new takes the same lock.
    let [say, whisper] = [|text: &str| info!("{text}"), |text: &str| debug!("{text}")];
    logged.run(|| {
        say("from the parent");
        whisper("not from the parent");
        assert_forked(|| {
            for level in ["debug", "info", "debug"] {
                handle.set_filter(level).unwrap();
                say("from a child");
                whisper(level);
            }
            handle.flush(Duration::from_secs(10)).is_ok() && handle.stats().accepted == 5
        });
        let (is_asked, asked) = mpsc::channel();
        let (go_on, answer) = mpsc::channel();
        let slow = thread::spawn(|| tracing::Dispatch::new(SlowSubscriber { is_asked, answer: Mutex::new(answer) }));
        asked.recv().unwrap();
        assert_forked(|| {
            handle.set_filter("debug").unwrap();
            say("from another child");
            handle.flush(Duration::from_secs(10)).is_ok()
        });
        drop(go_on);
        slow.join().unwrap();
    });
    let said = |text: &str| logged.json().iter().filter(|line| line["message"] == text).count();
    assert_eq!([said("from the parent"), said("not from the parent"), said("from another child")], [1, 0, 1]);
    assert_eq!([said("from a child"), said("debug"), said("info")], [3, 2, 0]);
}
