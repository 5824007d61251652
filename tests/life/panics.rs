//! Panics: in the log with place and thread, and without a loss before them.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use unfazed::{Builder, Format};

use crate::harness::{Case, Ended, Place};
use crate::load::{say_all, to_log};
use crate::readback::Log;
use crate::sinks::HungSink;
use crate::support::moment::{HELD_UP, Moment};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "a_panic_of_main_is_an_error_record_and_the_hook_before_runs_too",
            panic_of_main,
            panic_of_main_is_told,
        )
        .ends_with(101),
        Case::new("a_panic_of_a_thread_is_an_error_record_with_its_name", panic_of_thread, |ended| {
            assert_eq!(ended.place.noted("hook"), "worker");
            let log = ended.log();
            assert_panic(&log, "thread 'worker' panicked at ", ": in a thread");
            log.assert_all(0, 10);
        }),
        Case::new("a_panic_with_a_value_that_is_no_text_is_an_error_record", panic_without_text, |ended| {
            assert_panic(&ended.log(), "thread '<unnamed>' panicked at ", ": a value that is not text");
        }),
        Case::new("a_panic_has_its_file_and_a_backtrace_if_the_environment_asks", panic_with_backtrace, |ended| {
            let text = fs::read_to_string(ended.place.log()).unwrap();
            let line = text.lines().find(|line| line.contains("target=panic")).unwrap_or_else(|| panic!("{text}"));
            assert!(line.contains(&format!(" file={} line=", file!())), "{line}");
            let backtrace = line.split_once(" backtrace=").map(|(_, backtrace)| backtrace);
            assert!(backtrace.is_some_and(|text| text.contains("panic_with_backtrace")), "{line}");
        }),
        Case::new("the_rate_limit_of_a_location_holds_for_panics", panics_at_one_place, panics_are_limited),
        Case::new("a_panic_is_no_record_unless_it_was_asked_for", panic_not_asked_for, |ended| {
            assert_eq!(ended.place.noted("hook"), "worker");
            let log = ended.log();
            assert!(log.others.is_empty(), "{:?}", log.others);
            log.assert_all(0, 10);
        }),
        Case::new("a_panic_while_another_unwinds_loses_nothing", panic_in_a_drop, |ended| {
            let log = ended.log();
            log.assert_all(0, 100);
            let messages = log.messages("panic");
            assert!(messages.len() >= 2, "both panics: {messages:?}");
            assert!(messages[0].ends_with(": first") && messages[1].ends_with(": second, in a drop"), "{messages:?}");
        })
        .killed_by(libc::SIGABRT)
        .speaks()
        .times(4),
        Case::new("a_panic_in_the_destructor_of_a_thread_local_loses_nothing", panic_in_a_thread_local, |ended| {
            let log = ended.log();
            log.assert_all(0, 100);
            let messages = log.messages("panic");
            assert!(messages[0].ends_with(": second, in a drop"), "{messages:?}");
        })
        .killed_by(libc::SIGABRT)
        .speaks()
        .times(4),
        Case::inside("panics_that_are_caught_wait_once_for_a_writer_that_hangs", caught_panics_and_a_hung_sink),
        Case::inside("a_panic_that_aborts_loses_nothing_that_was_logged_before_it", panic_that_aborts)
            .deadline(Duration::from_secs(300)),
    ]
}

static PLACE: OnceLock<Place> = OnceLock::new();

/// The program's own hook, which is there before the logger: silent, but it leaves a note.
fn own_hook(place: &Place) {
    PLACE.set(place.clone()).ok().unwrap();
    panic::set_hook(Box::new(|_| {
        PLACE.get().unwrap().note("hook", thread::current().name().unwrap_or_default());
    }));
}

fn panic_of_main(place: &Place) {
    own_hook(place);
    to_log(place).log_panics(true).init().unwrap();
    say_all(0, 10);
    panic!("in main");
}

fn panic_of_main_is_told(ended: &Ended) {
    assert_eq!(ended.place.noted("hook"), "main");
    let log = ended.log();
    assert_panic(&log, "thread 'main' panicked at ", ": in main");
    log.assert_all(0, 10);
}

/// Asserts that there is one record of a panic, and that it says where.
fn assert_panic(log: &Log, begin: &str, end: &str) {
    let [line] = &log.others[..] else { panic!("one line next to the numbered ones: {:?}", log.others) };
    assert_eq!((line.level.as_str(), line.target.as_str()), ("ERROR", "panic"), "{line:?}");
    let place = line.message.strip_prefix(begin).and_then(|rest| rest.strip_suffix(end));
    let place = place.unwrap_or_else(|| panic!("{line:?} is not {begin}...{end}"));
    let mut parts = place.rsplitn(3, ':');
    let numbers = [parts.next(), parts.next()].map(|number| number.and_then(|number| number.parse::<u32>().ok()));
    assert!(numbers.iter().all(Option::is_some), "line and column: {place}");
    assert_eq!(parts.next(), Some(file!()), "{place}");
}

fn panic_of_thread(place: &Place) {
    own_hook(place);
    to_log(place).log_panics(true).init().unwrap();
    say_all(0, 10);
    assert!(in_worker(|| panic!("in a thread")).is_err());
}

fn panic_with_backtrace(place: &Place) {
    // SAFETY: no other thread of this process reads the environment.
    unsafe { std::env::set_var("RUST_BACKTRACE", "1") };
    own_hook(place);
    to_log(place).format(Format::logfmt().location()).log_panics(true).init().unwrap();
    assert!(panic::catch_unwind(|| panic!("with a backtrace")).is_err());
}

fn panic_without_text(place: &Place) {
    own_hook(place);
    to_log(place).log_panics(true).init().unwrap();
    assert!(thread::spawn(|| panic::panic_any(7)).join().is_err());
}

fn panics_at_one_place(place: &Place) {
    own_hook(place);
    to_log(place).log_panics(true).rate_limit(3, Duration::from_secs(3600)).init().unwrap();
    for _ in 0..20 {
        assert!(panic::catch_unwind(|| panic!("again")).is_err());
    }
}

fn panics_are_limited(ended: &Ended) {
    let others = &ended.log().others;
    let panics = others.iter().filter(|line| line.target == "panic" && line.message.ends_with(": again")).count();
    let suppressed = others.iter().filter_map(|line| line.message.strip_suffix(" similar records suppressed"));
    let suppressed: usize = suppressed.map(|count| count.parse::<usize>().unwrap()).sum();
    // An hour may end meanwhile.
    assert!(matches!(panics, 3 | 6) && panics + suppressed == 20, "{others:?}");
}

fn panic_not_asked_for(place: &Place) {
    own_hook(place);
    to_log(place).init().unwrap();
    say_all(0, 10);
    assert!(in_worker(|| panic!("in a thread")).is_err());
}

fn in_worker(life: fn()) -> thread::Result<()> {
    thread::Builder::new().name("worker".into()).spawn(life).unwrap().join()
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("second, in a drop");
    }
}

thread_local!(static BOMB: Bomb = const { Bomb });

fn panic_in_a_drop(place: &Place) {
    own_hook(place);
    to_log(place).log_panics(true).init().unwrap();
    say_all(0, 100);
    let _bomb = Bomb;
    panic!("first");
}

fn panic_in_a_thread_local(place: &Place) {
    own_hook(place);
    to_log(place).log_panics(true).init().unwrap();
    say_all(0, 100);
    thread::spawn(|| BOMB.with(|_| ())).join().unwrap();
    // The process is aborted before it gets here.
    thread::park();
}

fn caught_panics_and_a_hung_sink(place: &Place) {
    const SHORT: Duration = Duration::from_millis(300);

    own_hook(place);
    let (entered, has_entered) = mpsc::channel();
    let builder = Builder::new().sink("hangs", HungSink(entered)).shutdown_timeout(SHORT);
    builder.log_panics(true).init().unwrap();
    say_all(0, 1);
    has_entered.recv().unwrap();
    let (begun, own) = (Instant::now(), Moment::of_this_thread());
    for _ in 0..20 {
        assert!(panic::catch_unwind(|| panic!("caught")).is_err());
    }
    let (took, own) = (begun.elapsed(), own.elapsed());
    // Waits of all of them would add up to 6 s.
    let most = 5 * SHORT + HELD_UP;
    assert!(SHORT <= took && own < most, "{took:?}, of which it could not run for {:?}", took - own);
}

/// Built with `panic = "abort"`, which no test of this build can have.
fn panic_that_aborts(place: &Place) {
    let Some(cargo) = std::env::var_os("CARGO") else {
        return place.skip("only cargo can build the crate with `panic = \"abort\"`, and it has not started this test");
    };
    let program = place.path("panics");
    build_that_aborts(&cargo, &program);
    for _ in 0..10 {
        let ended = Command::new(&program).arg(place.log()).stdin(Stdio::null()).output().unwrap();
        assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "{ended:?}");
        assert!(ended.stdout.is_empty(), "{ended:?}");
        let log = Log::read(&place.log());
        let wanted: Vec<_> = (0..1000).map(|number| format!("record {number} before the panic")).collect();
        assert_eq!(log.messages("panics"), wanted);
        let [told] = log.messages("panic")[..] else { panic!("one panic: {:?}", log.messages("panic")) };
        assert!(told.starts_with("thread 'main' panicked at examples/panics.rs:"), "{told}");
        assert_eq!(log.others.len(), 1001, "{:?}", log.others.last());
        std::fs::remove_file(place.log()).unwrap();
    }
}

/// Builds the example as `cargo build --profile abort --example panics` does. That would build all
/// that the other examples and the tests depend on before, for most of the time that it takes; so
/// cargo builds the crate, and says where that is.
fn build_that_aborts(cargo: &OsStr, program: &Path) {
    let manifest_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut build = Command::new(cargo);
    build.current_dir(manifest_dir).stdin(Stdio::null());
    build.args(["build", "--quiet", "--profile", "abort", "--lib", "--message-format", "json"]);
    let built = build.output().unwrap();
    assert!(built.status.success(), "the crate cannot be built: {}", String::from_utf8_lossy(&built.stderr));
    let messages = String::from_utf8(built.stdout).unwrap();
    let library = |name: &str| -> PathBuf {
        let artifact = messages.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut artifact = artifact.filter(|message| message["target"]["name"] == name);
        let artifact = artifact.next().unwrap_or_else(|| panic!("cargo has not built `{name}`: {messages}"));
        let files = artifact["filenames"].as_array().unwrap().iter().filter_map(Value::as_str).map(PathBuf::from);
        files.into_iter().find(|file| file.extension().is_some_and(|extension| extension == "rlib")).unwrap()
    };
    let (log, unfazed) = (library("log"), library("unfazed"));
    let mut compile = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    compile.current_dir(manifest_dir).stdin(Stdio::null());
    compile.args(["--edition", "2024", "-C", "panic=abort", "examples/panics.rs", "-o"]).arg(program);
    compile.arg("-L").arg(with("dependency=", log.parent().unwrap()));
    compile.arg("--extern").arg(with("log=", &log)).arg("--extern").arg(with("unfazed=", &unfazed));
    let compiled = compile.output().unwrap();
    assert!(compiled.status.success(), "the example: {}", String::from_utf8_lossy(&compiled.stderr));
}

fn with(before: &str, path: &Path) -> OsString {
    let mut all = OsString::from(before);
    all.push(path);
    all
}
