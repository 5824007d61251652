//! Options from a file: every one of them arrives, and what is wrong is named.
#![allow(clippy::incompatible_msrv)] // only the library keeps to the oldest compiler
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says by panicking what is wrong

use std::fs;
use std::io;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log as _, Metadata};
use unfazed::{
    Builder, Color, Config, Console, Facility, Format, Fsync, GIB, Journald, KIB, LogFile, MIB, Overflow, Rotation,
    Syslog, SyslogProtocol, WhenLow,
};

const EVERYTHING: &str = r#"
level = "debug"
filter = "hyper=warn,app=trace"
filter_env = "APP_LOG"
format = { kind = "text", local_time = true, thread = true, location = true, multiline = true }
capacity = 1000
overflow = { block_at_most = "50ms" }
rate_limit = { records = 100, per = "1m" }
shutdown_timeout = "1s 500ms"
log_panics = true
require_outputs = true
flush_on_crash = true

[[file]]
path = "app.json"
level = "info"
filter = "app=info"
format = { kind = "json", safe_integers = true, fields = { service = "shop", instance = 3, ratio = 0.5, test = true } }
min_free_space = "500 MiB"
fsync = { every = "5s" }
rotation = { every = "day", size = "100MiB", local_time = true, on_start = true }
max_files = 30
max_total_size = "2 GiB"
max_age = "30days"
when_low = "delete_oldest"
error_reserve = 131072
retain = "96 KiB"
backlog = "2 MiB"
patience = "7s"
mode = "0640"
owner = "root"
group = 0
symlink = "current.json"
compress = true
otherwise = { syslog = { to = "local", facility = "daemon" } }

[[file]]
path = "errors.log"
level = "error"
format = "logfmt"
fsync = "after_errors"
rotation = "hourly"
when_low = "stop"

[stderr]
levels = "Warn ..= info"
color = "always"
backlog = "64 KiB"
patience = "1m"
otherwise = "other.log"

[stdout]
filter = "info,hyper=off"
format = "ecs"

[syslog]
to = "udp://127.0.0.1:514"
level = "warn"
filter = "app=info"
facility = "local3"
protocol = "rfc3164"
app_name = "shop"
structured_data = "kv@32473"
max_len = "2 KiB"
backlog = "64 KiB"
patience = "7s"

[journald]
levels = "Warn ..= info"
filter = "app=info"
identifier = "shop"
socket = "/run/systemd/journal.shop/socket"
backlog = "64 KiB"
patience = "7s"
"#;

/// The same by the builder's own methods.
fn everything() -> Builder {
    let json = Format::json()
        .field("instance", 3)
        .field("ratio", 0.5)
        .field("service", "shop")
        .field("test", true)
        .safe_integers();
    let first = LogFile::new("app.json")
        .level(LevelFilter::Info)
        .filter("app=info")
        .format(json)
        .min_free_space(500 * MIB)
        .fsync(Fsync::Every(Duration::from_secs(5)))
        .rotation(Rotation::daily().or_size(100 * MIB).local_time().on_start())
        .max_files(30)
        .max_total_size(2 * GIB)
        .max_age(Duration::from_secs(30 * 86_400))
        .when_low(WhenLow::DeleteOldest)
        .error_reserve(128 * KIB)
        .retain(96 * KIB)
        .backlog(2 * MIB)
        .patience(Duration::from_secs(7))
        .mode(0o640)
        .owner("root")
        .group(0)
        .symlink("current.json")
        .compress(true)
        .otherwise(Syslog::local().facility(Facility::Daemon));
    let second = LogFile::new("errors.log")
        .level(LevelFilter::Error)
        .format(Format::logfmt())
        .fsync(Fsync::AfterErrors)
        .rotation(Rotation::hourly())
        .when_low(WhenLow::Stop);
    let syslog = Syslog::udp("127.0.0.1:514")
        .unwrap()
        .level(LevelFilter::Warn)
        .filter("app=info")
        .facility(Facility::Local3)
        .protocol(SyslogProtocol::Rfc3164)
        .app_name("shop")
        .structured_data("kv@32473")
        .max_len(2 * KIB)
        .backlog(64 * KIB)
        .patience(Duration::from_secs(7));
    let journald = Journald::new()
        .levels(LevelFilter::Warn..=LevelFilter::Info)
        .filter("app=info")
        .identifier("shop")
        .socket("/run/systemd/journal.shop/socket")
        .backlog(64 * KIB)
        .patience(Duration::from_secs(7));
    Builder::new()
        .level(LevelFilter::Debug)
        .filter("hyper=warn,app=trace")
        .filter_env("APP_LOG")
        .file(first)
        .file(second)
        .console(
            Console::stderr()
                .levels(LevelFilter::Warn..=LevelFilter::Info)
                .color(Color::Always)
                .backlog(64 * KIB)
                .patience(Duration::from_secs(60))
                .otherwise(LogFile::new("other.log")),
        )
        .console(Console::stdout().filter("info,hyper=off").format(Format::ecs()))
        .syslog(syslog)
        .journald(journald)
        .format(Format::text().local_time().thread().location().multiline())
        .capacity(1000)
        .overflow(Overflow::BlockAtMost(Duration::from_millis(50)))
        .rate_limit(100, Duration::from_secs(60))
        .shutdown_timeout(Duration::from_millis(1500))
        .log_panics(true)
        .require_outputs(true)
        .flush_on_crash(true)
}

fn shown(builder: &Builder) -> String {
    format!("{builder:#?}")
}

/// Shows the first line that differs: of the whole nobody could see it.
fn assert_same(builder: &Builder, expected: &Builder) {
    let (builder, expected) = (shown(builder), shown(expected));
    let differ = builder.lines().zip(expected.lines()).find(|(one, other)| one != other);
    assert_eq!(differ, None);
    assert_eq!(builder.lines().count(), expected.lines().count());
}

fn from_toml(text: &str) -> Config {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn every_option_arrives_from_toml() {
    assert_same(&from_toml(EVERYTHING).builder().unwrap(), &everything());
}

#[test]
fn what_the_documents_show_is_a_configuration_with_each_key_there_is() {
    let page = include_str!("../src/_docs/config.md");
    let shown_there = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut examples: Vec<String> = shown_there.map(str::to_owned).collect();
    assert_eq!(examples.len(), 1, "the TOML block of the page on options");
    let source = include_str!("../src/options/config.rs");
    let block = source.split("/// ```toml\n").nth(1).unwrap().split("/// ```").next().unwrap();
    examples.push(block.lines().map(|line| line.trim_start_matches("///").trim_start().to_owned() + "\n").collect());
    for text in &examples {
        let _ = from_toml(text).builder().unwrap();
    }
    // Each key of each table is in the larger one: serde names them in the error for one that does
    // not exist.
    for (wrong, table) in [
        ("nonsense = 1", ""),
        ("[format]\nkind = 'text'\nnonsense = 1", ""),
        ("[[file]]\nnonsense = 1", "[[file]]"),
        ("[stderr]\nnonsense = 1", "[stderr]"),
        ("[syslog]\nnonsense = 1", "[syslog]"),
        ("[journald]\nnonsense = 1", "[journald]"),
    ] {
        let error = toml::from_str::<Config>(wrong).unwrap_err().to_string();
        let (_, known) = error.split_once("expected one of ").unwrap_or_else(|| panic!("{error}"));
        let (_, from_table) = examples[1].split_once(table).unwrap();
        let shown = if table.is_empty() { from_table } else { from_table.split("\n[").next().unwrap() };
        let words: Vec<_> = shown.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
        let keys = known.lines().next().unwrap().split('`').skip(1).step_by(2);
        let missing: Vec<_> = keys.filter(|key| !words.contains(key)).collect();
        assert!(missing.is_empty(), "{table}: {missing:?}");
    }
}

#[test]
fn every_option_arrives_from_json() {
    let value: toml::Value = toml::from_str(EVERYTHING).unwrap();
    let json = serde_json::to_string(&value).unwrap();
    let config: Config = serde_json::from_str(&json).unwrap();
    assert_same(&config.builder().unwrap(), &everything());
}

#[test]
fn an_empty_file_is_a_builder_with_its_defaults_and_a_path_is_a_file_with_its_own() {
    assert_eq!(shown(&from_toml("").builder().unwrap()), shown(&Builder::new()));
    assert_eq!(shown(&from_toml("file = ['a.log']").builder().unwrap()), shown(&Builder::new().file("a.log")));
    assert_eq!(shown(&from_toml("[[file]]\npath = 'a.log'").builder().unwrap()), shown(&Builder::new().file("a.log")));
}

#[test]
fn the_path_of_a_socket_may_be_relative_and_a_machine_is_not_taken_for_one() {
    for path in ["./log.sock", "run/log.sock", "/run/log.sock"] {
        let config = from_toml(&format!("[syslog]\nto = '{path}'\n[journald]\nsocket = '{path}'"));
        let expected = Builder::new().syslog(Syslog::unix(path)).journald(Journald::new().socket(path));
        assert_eq!(shown(&config.builder().unwrap()), shown(&expected));
    }
    let local = from_toml("[syslog]\nto = '/dev/log'").builder().unwrap();
    assert_eq!(shown(&local), shown(&Builder::new().syslog(Syslog::local())));
    for wrong in [
        "localhost:514",
        "log",
        "",
        "tls://localhost:514",
        "udp://a:b:514",
        "udp://:514",
        "udp://a",
        "udp://a:b",
        "tcp:// a:1",
    ] {
        let error = from_toml(&format!("[syslog]\nto = '{wrong}'")).builder().unwrap_err().to_string();
        assert!(error.contains("syslog.to") && error.contains("the path of a socket"), "{error}");
    }
}

#[test]
fn every_word_has_its_meaning() {
    let overflow = |word: &str| shown(&from_toml(&format!("overflow = '{word}'")).builder().unwrap());
    for (word, expected) in
        [("drop_newest", Overflow::DropNewest), ("drop_oldest", Overflow::DropOldest), ("block", Overflow::Block)]
    {
        assert_eq!(overflow(word), shown(&Builder::new().overflow(expected)), "{word}");
    }
    let format = |word: &str| shown(&from_toml(&format!("format = '{word}'")).builder().unwrap());
    for (word, expected) in [
        ("text", Format::text()),
        ("logfmt", Format::logfmt()),
        ("json", Format::json()),
        ("otel", Format::otel()),
        ("ecs", Format::ecs()),
        ("gelf", Format::gelf()),
        ("google_cloud", Format::google_cloud()),
    ] {
        assert_eq!(format(word), shown(&Builder::new().format(expected)), "{word}");
    }
    let file = |option: &str| shown(&from_toml(&format!("[[file]]\npath = 'a'\n{option}")).builder().unwrap());
    for (option, expected) in [
        ("rotation = 'never'", LogFile::new("a").rotation(Rotation::never())),
        ("rotation = 'daily'", LogFile::new("a").rotation(Rotation::daily())),
        ("rotation = 'minutely'", LogFile::new("a").rotation(Rotation::minutely())),
        ("rotation = 'weekly'", LogFile::new("a").rotation(Rotation::weekly())),
        ("rotation = 'monthly'", LogFile::new("a").rotation(Rotation::monthly())),
        ("rotation = { every = 'minute' }", LogFile::new("a").rotation(Rotation::minutely())),
        ("rotation = { every = '6h' }", LogFile::new("a").rotation(Rotation::every(Duration::from_secs(6 * 3600)))),
        ("rotation = 'every=90m'", LogFile::new("a").rotation(Rotation::every(Duration::from_secs(90 * 60)))),
        ("otherwise = 'stdout'", LogFile::new("a").otherwise(Console::stdout())),
        ("otherwise = { file = { path = 'b' } }", LogFile::new("a").otherwise(LogFile::new("b"))),
        (
            "otherwise = { journald = { identifier = 'b' } }",
            LogFile::new("a").otherwise(Journald::new().identifier("b")),
        ),
        ("rotation = { every = 'week' }", LogFile::new("a").rotation(Rotation::weekly())),
        ("rotation = { every = 'month' }", LogFile::new("a").rotation(Rotation::monthly())),
        ("rotation = { every = 'hour' }", LogFile::new("a").rotation(Rotation::hourly())),
        ("rotation = { size = 1 }", LogFile::new("a").rotation(Rotation::size(1))),
        ("fsync = 'never'", LogFile::new("a").fsync(Fsync::Never)),
        ("min_free_space = '3 KiB'", LogFile::new("a").min_free_space(3 * KIB)),
        ("min_free_space = '7 B'", LogFile::new("a").min_free_space(7)),
        ("min_free_space = '10MB'", LogFile::new("a").min_free_space(10_000_000)),
        ("min_free_space = '1.5 GiB'", LogFile::new("a").min_free_space(1536 * MIB)),
        ("max_age = '30d'", LogFile::new("a").max_age(Duration::from_secs(30 * 86_400))),
        ("rotation = 'daily size=10MiB'", LogFile::new("a").rotation(Rotation::daily().or_size(10 * MIB))),
        ("fsync = 'every=5s'", LogFile::new("a").fsync(Fsync::Every(Duration::from_secs(5)))),
        ("level = 'WARN'", LogFile::new("a").level(LevelFilter::Warn)),
        ("level = 'Warn'", LogFile::new("a").level(LevelFilter::Warn)),
    ] {
        assert_eq!(file(option), shown(&Builder::new().file(expected)), "{option}");
    }
    for (word, expected) in [("auto", Color::Auto), ("always", Color::Always), ("never", Color::Never)] {
        let config = from_toml(&format!("[stdout]\ncolor = '{word}'"));
        let expected = Builder::new().console(Console::stdout().color(expected));
        assert_eq!(shown(&config.builder().unwrap()), shown(&expected), "{word}");
    }
}

#[test]
fn every_option_of_a_format_arrives() {
    let text = "format = { pattern = '{time} {level:5} {message} {kv}', time = '%H:%M', palette = 'warn=red', \
                color_lines = true, short_target = true, fields = { service = 'shop' } }\n\
                [stderr]\nformat = { kind = 'text', time = 'ms', without_level = true, without_target = true, location = true }";
    let pattern = Format::pattern("{time} {level:5} {message} {kv}").time("%H:%M").palette("warn=red");
    let pattern = pattern.color_lines().short_target().field("service", "shop");
    let text_format = Format::text().time("ms").without_level().without_target().location();
    let expected = Builder::new().format(pattern).console(Console::stderr().format(text_format));
    assert_eq!(shown(&from_toml(text).builder().unwrap()), shown(&expected));
    let word = from_toml("format = 'pattern {level} {message}'").builder().unwrap();
    assert_eq!(shown(&word), shown(&Builder::new().format(Format::pattern("{level} {message}"))));
}

/// 18446744073709551615 became 18446744073709552000.0.
#[test]
fn an_integer_of_a_constant_field_keeps_its_digits() {
    let numbers = [i64::MIN.to_string(), i64::MAX.to_string(), (1_u64 << 63).to_string(), u64::MAX.to_string()];
    for number in numbers {
        let text = format!(r#"{{"format": {{"kind": "json", "fields": {{"n": {number}}}}}}}"#);
        let config: Config = serde_json::from_str(&text).unwrap();
        let expected = match (number.parse::<i64>(), number.parse::<u64>()) {
            (Ok(signed), _) => Format::json().field("n", signed),
            (_, unsigned) => Format::json().field("n", unsigned.unwrap()),
        };
        assert_eq!(shown(&config.builder().unwrap()), shown(&Builder::new().format(expected)), "{number}");
    }
}

#[test]
fn an_error_names_the_key_or_the_value_and_what_there_is() {
    let cases = [
        ("capcity = 1000", ["capcity", "capacity"]),
        ("[[file]]\npath = 'a'\nmax_size = 1", ["max_size", "max_files"]),
        ("[[file]]\nlevel = 'info'", ["missing field", "path"]),
        ("[stderr]\ncolour = 'auto'", ["colour", "color"]),
        ("[[stderr]]\nlevel = 'warn'", ["sequence", "[stderr]"]),
        ("stdout = true", ["true", "[stderr]"]),
        ("[[syslog]]\nto = 'local'", ["sequence", "`[syslog]`"]),
        ("syslog = 'local'", ["local", "`[syslog]`"]),
        ("[[journald]]", ["sequence", "`[journald]`"]),
        ("capacity = '8k'", ["8k", "a whole number"]),
        ("[[file]]\npath = 'a'\nmax_files = -1", ["-1", "a whole number"]),
        ("rate_limit = 100", ["100", "{ records = 100, per = \"1m\" }"]),
        ("rate_limit = [100, '1m']", ["sequence", "{ records = 100, per = \"1m\" }"]),
        ("[[file]]\npath = 'a'\notherwise = { disk = 'b' }", ["disk", "stderr"]),
        ("[[file]]\npath = 'a'\notherwise = {}", ["one output", "stderr"]),
        ("[[file]]\npath = 'a'\notherwise = { stderr = {}, stdout = {} }", ["one output", "stderr"]),
        ("format = { kind = 'text', threads = true }", ["threads", "thread"]),
        ("overflow = 'wait'", ["wait", "drop_newest"]),
        ("overflow = { block = '1s' }", ["block", "block_at_most"]),
        ("rate_limit = { records = 1 }", ["missing field", "per"]),
        ("rate_limit = { records = 1, per = '1s', burst = 2 }", ["burst", "records"]),
        ("[[file]]\npath = 'a'\nrotation = 'yearly'", ["yearly", "daily"]),
        ("[[file]]\npath = 'a'\nrotation = { each = 'day' }", ["each", "every"]),
        ("[[file]]\npath = 'a'\nfsync = { after = '1s' }", ["after", "every"]),
        ("[[file]]\npath = 'a'\nmode = 640", ["640", "octal"]),
        ("[[file]]\npath = 'a'\nmode = 0o640", ["octal", "\"0640\""]),
        ("[[file]]\npath = 'a'\nmode = '0o0o640'", ["0o0o640", "octal"]),
        ("[[file]]\npath = 'a'\nmin_free_space = '5 PB'", ["5 PB", "KiB"]),
        ("[[file]]\npath = 'a'\nmin_free_space = '99999999999999 GiB'", ["99999999999999 GiB", "KiB"]),
        ("[[file]]\npath = 'a'\nmin_free_space = -1", ["-1", "bytes"]),
        ("shutdown_timeout = 2", ["2", "unit"]),
        ("level = 'loud'", ["loud", "level"]),
        ("level = 'info'\nformat = 'xml'", ["line 2", "google_cloud"]),
        ("format = { kind = 'xml' }", ["line 1", "google_cloud"]),
        ("format = 'custom'", ["`custom`", "logfmt"]),
        ("format = { thread = true }", ["kind", "pattern"]),
        ("format = { kind = 'text', pattern = '{message}' }", ["kind", "pattern"]),
        ("format = { kind = 'text', time = 'millis' }", ["millis", "`ms`"]),
        ("format = 'pattern {lvel}'", ["{lvel}", "{level}"]),
        ("file = 'app.log'", ["app.log", "[[file]]"]),
        ("[file]\npath = 'app.log'", ["line 1", "[[file]]"]),
        ("file = ['~/app.log']", ["`~/app.log`", "the whole path"]),
        ("[[file]]\npath = '$HOME/app.log'", ["line 2", "the whole path"]),
        ("[[file]]\npath = 'a'\nsymlink = '${LOGS}/b'", ["line 3", "the whole path"]),
    ];
    for (text, words) in cases {
        let error = toml::from_str::<Config>(text).expect_err(text).to_string().to_lowercase();
        for word in words {
            assert!(error.contains(&word.to_lowercase()), "{text}: {error}");
        }
    }
}

#[test]
fn what_the_builder_cannot_do_is_an_error_that_names_the_option() {
    for (text, option) in [
        ("file = ['a.log']\ncapacity = 0", "capacity"),
        ("file = ['a.log']\nrate_limit = { records = 0, per = '1s' }", "rate_limit"),
        ("[[file]]\npath = 'a.log'\nmax_files = 0", "max_files"),
        ("[[file]]\npath = 'a.log'\nlevels = 'info..=warn'", "`levels` is Info..=Warn for output `a.log`"),
        ("file = ['a.log']\nfilter = 'app=loud'", "app=loud"),
        ("file = ['a.log']\nformat = { pattern = '{lvel}' }", "character 1: `{lvel}`"),
        ("file = ['a.log']\nformat = { kind = 'text', palette = 'warn=pink' }", "warn=pink"),
    ] {
        let error = from_toml(text).builder().and_then(Builder::build).map(|_| ()).expect_err(text);
        let chain = format!("{error} {error:?}");
        assert!(chain.contains(option), "{text}: {chain}");
    }
}

#[test]
fn a_changed_file_changes_the_filter_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.log");
    let config = |level: &str| {
        let path = serde_json::to_string(&path).unwrap();
        let text = format!(r#"{{ "level": "{level}", "filter": "noisy=error", "file": [{path}] }}"#);
        serde_json::from_str::<Config>(&text).unwrap()
    };
    log::set_max_level(LevelFilter::Trace); // nothing is installed
    let (logger, handle) = config("info").builder().unwrap().build().unwrap();
    let log = |number: u32| {
        log::info!(logger: logger, "info {number}");
        log::debug!(logger: logger, "debug {number}");
        log::warn!(logger: logger, target: "noisy", "noise {number}");
    };
    log(1);
    assert_eq!(config("debug").directives(), "debug,noisy=error");
    handle.set_filter(&config("debug").directives()).unwrap();
    log(2);
    handle.set_filter(&config("off").directives()).unwrap();
    log(3);
    handle.flush(Duration::from_secs(60)).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let messages: Vec<_> = text.lines().map(|line| line.rsplit(": ").next().unwrap()).collect();
    assert_eq!(messages, ["info 1", "info 2", "debug 2"]);
}

#[test]
fn a_daemon_from_the_file_takes_what_a_suspended_file_cannot() {
    log::set_max_level(LevelFilter::Trace); // nothing is installed
    let dir = tempfile::tempdir().unwrap();
    let [socket, no_dir] = ["socket", "no"].map(|name| dir.path().join(name));
    fs::write(&no_dir, "").unwrap();
    let daemon = UnixDatagram::bind(&socket).unwrap();
    daemon.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (path, socket) = (no_dir.join("app.log"), socket.display());
    let text = format!("[[file]]\npath = '{}'\notherwise = {{ syslog = {{ to = '{socket}' }} }}", path.display());
    let (logger, _handle) = from_toml(&text).builder().unwrap().build().unwrap();
    log::info!(logger: logger, "not for the daemon");
    log::warn!(logger: logger, "for the daemon");
    let mut bytes = [0; 1000];
    let len = daemon.recv(&mut bytes).unwrap();
    let message = String::from_utf8_lossy(&bytes[..len]);
    assert!(message.contains("for the daemon") && !message.contains("not for"), "{message}");
}

/// Waits until it is so; a minute is longer than any load needs.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_watched_file_changes_filters_levels_and_the_rate_limit_and_moves_no_output() {
    log::set_max_level(LevelFilter::Trace); // nothing is installed
    let dir = tempfile::tempdir().unwrap();
    let [watched, new] = ["log.toml", "new.toml"].map(|name| dir.path().join(name));
    let [all, access, other] = ["all.log", "access.log", "other.log"].map(|name| dir.path().join(name));
    let text = |level: &str, all_levels: &str, access_filter: &str, limit: &str| {
        let (all, access) = (all.display(), access.display());
        format!(
            "level = '{level}'\n{limit}\n[[file]]\npath = '{all}'\nlevels = '{all_levels}'\n\
             [[file]]\npath = '{access}'\nfilter = '{access_filter}'"
        )
    };
    let read = |text: &str| toml::from_str::<Config>(text);
    let first = text("info", "..", "access=info", "");
    fs::write(&watched, &first).unwrap();
    let (failed, failures) = mpsc::channel();
    let builder = read(&first).unwrap().watch(&watched, read).builder().unwrap();
    let builder = builder.on_event(move |event| drop(failed.send(event.to_string())));
    let (logger, handle) = builder.build().unwrap();
    let takes = |level: Level, target: &str| logger.enabled(&Metadata::builder().level(level).target(target).build());
    assert!(takes(Level::Info, "access") && !takes(Level::Debug, "app"));

    // Edited in place.
    fs::write(&watched, text("debug", "..", "access=info", "")).unwrap();
    eventually("the level follows", || takes(Level::Debug, "app"));
    assert_eq!(handle.filter(), "debug");

    // Replaced by a rename: the first file takes WARN and ERROR alone, the other one another
    // target.
    fs::write(&new, text("debug", "..=warn", "shop=debug", "")).unwrap();
    fs::rename(&new, &watched).unwrap();
    eventually("the filters of the outputs follow", || !takes(Level::Info, "app"));
    assert!(takes(Level::Debug, "shop") && takes(Level::Warn, "app") && !takes(Level::Info, "access"));
    log::debug!(logger: logger, target: "shop", "for the second file");
    log::warn!(logger: logger, target: "app", "for the first file");

    // A rate limit where there was none, and a path that no output has.
    let limit = "rate_limit = { records = 1, per = '1h' }";
    let moved = text("debug", "..=warn", "shop=debug", limit) + &format!("\n[[file]]\npath = '{}'", other.display());
    fs::write(&watched, moved).unwrap();
    eventually("the rate limit follows", || {
        log::debug!(logger: logger, target: "shop", "again and again");
        handle.stats().suppressed > 0
    });
    fs::write(&watched, text("trace", "..=warn", "shop=debug", "")).unwrap();
    eventually("the filter follows", || handle.filter() == "trace");
    // The limit goes after the filter, and lets the first record of each location through.
    eventually("the rate limit goes", || {
        let suppressed = handle.stats().suppressed;
        (0..5).for_each(|_| log::debug!(logger: logger, target: "shop", "no limit"));
        handle.stats().suppressed == suppressed
    });

    // A name that no module has is no error; the outputs that take WARN report it.
    fs::write(&watched, text("trace", "..=warn", "shop-app=debug", "")).unwrap();
    eventually("the filter of the second file is doubted", || {
        let reads = |path| fs::read_to_string(path).unwrap().contains("write `shop_app=debug`");
        handle.flush(Duration::from_secs(60)).is_ok() && reads(&all)
    });
    fs::write(&watched, text("trace", "..=warn", "shop=debug", "")).unwrap();
    eventually("the filter of the second file is the old one", || takes(Level::Debug, "shop"));

    // Bad ones, and none at all.
    assert_eq!(failures.try_iter().collect::<Vec<_>>(), [""; 0]);
    let file = format!("\n[[file]]\npath = '{}'", all.display());
    for (bad, why) in [
        (Some("levl = 'info'"), "unknown field `levl`"),
        (Some("level = 'warn'\nfilter = 'app=loud'"), "app=loud"),
        (Some("level = 'warn'\nrate_limit = { records = 0, per = '1s' }"), "0 records"),
        (Some("level = 'warn'\ncapacity = 0"), "`capacity` is 0"),
        (None, ""),
        // As an editor leaves it on a full disk: once followed, with the level of no file.
        (Some(""), "no output"),
    ] {
        let doing = if bad.is_some() { "follow" } else { "read" };
        match bad {
            Some("") => fs::write(&watched, "").unwrap(),
            Some(text) => fs::write(&watched, text.to_owned() + &file).unwrap(),
            None => fs::remove_file(&watched).unwrap(),
        }
        for output in [&all, &access] {
            let told = failures.recv_timeout(Duration::from_secs(60)).unwrap();
            assert!(
                told.starts_with(&format!("output `{}` failed to {doing} the configuration", output.display())),
                "{told}"
            );
            assert!(told.contains(why), "{told}");
        }
        assert_eq!(handle.filter(), "trace");
    }

    // And a good one.
    fs::write(&watched, text("error", "..", "shop=trace", "")).unwrap();
    eventually("it follows again", || handle.filter() == "error");
    handle.flush(Duration::from_secs(60)).unwrap();
    for (path, message, others) in
        [(&all, "for the first file", "for the second"), (&access, "for the second", "for the first")]
    {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains(message) && !text.contains(others), "{text}");
        assert!(text.contains("failed to follow the configuration"), "{text}");
    }
    assert!(!other.exists());
    let stats = handle.stats();
    for output in &stats.outputs {
        assert_eq!(output.offered, output.written, "{output:?}");
    }
    assert_eq!((stats.accepted, stats.pending), (stats.written, 0));
}

/// Both daemons once had the filter of the first one after a change.
#[test]
fn a_watched_file_changes_each_of_two_daemons_at_local_sockets() {
    log::set_max_level(LevelFilter::Trace); // nothing is installed
    let dir = tempfile::tempdir().unwrap();
    let [watched, access, app] = ["log.filter", "access", "app"].map(|name| dir.path().join(name));
    let daemons = [&access, &app].map(|path| UnixDatagram::bind(path).unwrap());
    let read = move |text: &str| {
        let daemon = |path, filter| Syslog::unix(path).filter(filter);
        let builder = Builder::new().filter(text).syslog(daemon(&access, "access=info"));
        Ok::<_, io::Error>(builder.syslog(daemon(&app, "info,access=off")))
    };
    fs::write(&watched, "info").unwrap();
    let (logger, handle) = read("info").unwrap().watch(&watched, read).build().unwrap();
    fs::write(&watched, "debug").unwrap();
    eventually("the filter follows", || handle.filter() == "debug");
    log::info!(logger: logger, target: "access", "for the first daemon");
    log::info!(logger: logger, target: "app", "for the second daemon");
    handle.flush(Duration::from_secs(60)).unwrap();
    for (daemon, expected) in daemons.iter().zip(["for the first daemon", "for the second daemon"]) {
        daemon.set_nonblocking(true).unwrap();
        let mut bytes = [0; 1000];
        let len = daemon.recv(&mut bytes).unwrap();
        let message = String::from_utf8_lossy(&bytes[..len]);
        assert!(message.contains(expected), "{message}");
        assert!(daemon.recv(&mut bytes).is_err(), "there is one message");
    }
    let stats = handle.stats();
    let names: Vec<_> = stats.outputs.iter().map(|output| &*output.name).collect();
    assert_eq!(names, ["syslog", "syslog 2"]);
    let page = stats.to_prometheus();
    assert_eq!(page.matches("unfazed_output_written_total{output=\"syslog 2\"} 1\n").count(), 1, "{page}");
}

/// The writer once asked a name server for it, and no output was written to until that answered.
#[test]
fn a_changed_file_has_no_name_looked_up_and_its_daemons_are_known_by_the_names_they_have_there() {
    log::set_max_level(LevelFilter::Trace); // nothing is installed
    let dir = tempfile::tempdir().unwrap();
    let watched = dir.path().join("log.toml");
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = daemon.local_addr().unwrap().port();
    let text = |level: &str, to: &str| {
        format!(
            "[syslog]\nto = 'udp://localhost:{port}'\nlevel = '{level}'\n[stderr]\nlevel = 'off'\notherwise = {{ syslog = {{ to = '{to}' }} }}"
        )
    };
    let read = |text: &str| toml::from_str::<Config>(text);
    let nowhere = read(&text("warn", "tcp://nowhere.invalid:514")).unwrap().builder().unwrap_err().to_string();
    assert!(nowhere.starts_with("option `syslog.to` is `tcp://nowhere.invalid:514` ("), "{nowhere}");
    let first = text("warn", "udp://127.0.0.1:9");
    fs::write(&watched, &first).unwrap();
    let (logger, handle) = read(&first).unwrap().watch(&watched, read).builder().unwrap().build().unwrap();
    let name = format!("syslog udp localhost:{port}");
    assert!(handle.stats().outputs.iter().any(|output| *output.name == *name));
    let takes = |level| logger.enabled(&Metadata::builder().level(level).target("app").build());
    assert!(takes(Level::Warn) && !takes(Level::Info));
    fs::write(&watched, text("info", "tcp://nowhere.invalid:514")).unwrap();
    eventually("the level of the daemon follows", || takes(Level::Info));
}

#[test]
fn directives_are_level_and_filter_in_one_text() {
    for (text, expected) in [
        ("", "info"),
        ("level = 'warn'", "warn"),
        ("filter = 'app=debug'", "info,app=debug"),
        ("level = 'trace'\nfilter = '/needle'", "trace/needle"),
        ("level = 'off'\nfilter = ''", "off"),
    ] {
        assert_eq!(from_toml(text).directives(), expected);
    }
}

#[test]
fn the_account_is_serialized_with_the_names_of_its_fields() {
    log::set_max_level(LevelFilter::Trace); // nothing is installed
    let dir = tempfile::tempdir().unwrap();
    let file = LogFile::new(dir.path().join("no/app.log"));
    fs::write(dir.path().join("no"), "").unwrap();
    let (logger, handle) = Builder::new().file(file.retain(0)).build().unwrap();
    log::warn!(logger: logger, "dropped");
    let _ = handle.flush(Duration::from_secs(60));
    let stats: serde_json::Value = serde_json::to_value(handle.stats()).unwrap();
    assert_eq!((&stats["accepted"], &stats["dropped"]["io_error"]), (&1.into(), &1.into()));
    assert_eq!(
        stats["dropped"]["by_level"],
        serde_json::json!({"error": 0, "warn": 1, "info": 0, "debug": 0, "trace": 0})
    );
    assert_eq!(stats["outputs"][0]["state"], serde_json::json!({"suspended": "missing"}));
    assert!(stats["outputs"][0]["time_suspended"].is_f64());
}
