//! What stands in a line: key-values, names of threads, times; and which records a filter takes.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::fs;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use log::{Level, Log as _, Record};
use serde_json::json;
use unfazed::{Builder, Format, LogFile, Rotation};

use crate::{argument, fresh, number};

/// `kvcut`: a large value among small ones.
pub(crate) fn cut() {
    let dir = fresh("kvcut");
    for (name, format) in [("json", Format::json()), ("text", Format::text()), ("ecs", Format::ecs())] {
        let file = LogFile::new(dir.join(name)).format(format);
        let (logger, _handle) = Builder::new().file(file).build().unwrap();
        for size in [1000, 65_000, 65_536, 70_000] {
            let body = "b".repeat(size);
            let pairs: &[(&str, log::kv::Value<'_>)] =
                &[("body", (&*body).into()), ("status", 500.into()), ("request_id", "r-42".into())];
            let mut record = Record::builder();
            record.level(Level::Error).args(format_args!("request failed")).key_values(&pairs);
            logger.log(&record.build());
        }
        logger.flush();
        let text = fs::read_to_string(dir.join(name)).unwrap();
        let lines = text.lines().filter(|line| line.contains("request failed"));
        let count = |word: &str| lines.clone().filter(|line| line.contains(word)).count();
        println!(
            "{name}: {} lines, {} marked, {} with request_id",
            lines.clone().count(),
            count("[cut]"),
            count("r-42")
        );
    }
}

#[derive(Debug)]
struct Checkout(std::io::Error);

impl fmt::Display for Checkout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("checkout failed")
    }
}

impl Error for Checkout {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// `kvs`: nested values, floats, an error with a source.
pub(crate) fn nested() {
    let dir = fresh("kvs");
    let file = |name: &str, format: Format| LogFile::new(dir.join(name)).format(format);
    let builder = Builder::new().file(file("json", Format::json())).file(file("text", Format::text()));
    builder.init().unwrap();
    let user = json!({"id": 7, "tags": ["a", "b"], "address": {"city": "Bern"}});
    let (map, none) = (BTreeMap::from([("x", 1), ("y", 2)]), None::<i32>);
    let error = Checkout(std::io::Error::other("connection refused"));
    log::info!(user:serde = user, map:serde = map, list:serde = [1, 2, 3]; "nested");
    log::info!(some:serde = Some(5u8), none:serde = none, flag:serde = true; "scalars");
    log::info!(short:serde = 0.1f32, plain = 0.1f32, long = 0.1f64; "floats");
    log::info!(error:err = error; "an error with a source");
    log::logger().flush();
    for name in ["json", "text"] {
        let text = fs::read_to_string(dir.join(name)).unwrap();
        // After the time.
        text.lines().for_each(|line| println!("{}", line.splitn(2, ['Z']).last().unwrap_or_default()));
    }
}

/// `filters`: directives that look right and match nothing.
pub(crate) fn filters() {
    for directives in ["hyper = warn", "my-app=debug", "warning", "info;my_app=debug", "my_app::*=debug"] {
        let log = fresh("filters").join("app.log");
        match Builder::new().filter(directives).file(&log).build() {
            Err(error) => println!("`{directives}`: {error}"),
            Ok((logger, _handle)) => {
                logger.flush();
                let text = fs::read_to_string(&log).unwrap();
                let advice = text.split_once(" WARN  unfazed: ").map_or("NOTHING IS SAID", |(_, said)| said.trim_end());
                println!("`{directives}`: {advice}");
            }
        }
    }
}

/// `tz LOG [rotate]`: local time in a zone that `TZ` names.
pub(crate) fn zone() {
    let file = match &*argument(3) {
        "rotate" => LogFile::new(argument(2)).rotation(Rotation::daily().local_time()),
        _ => LogFile::new(argument(2)).format(Format::text().local_time()),
    };
    let handle = Builder::new().file(file).log_panics(true).init().unwrap();
    (0..5).for_each(|line| log::info!("line {line}"));
    let _ = handle.flush(Duration::from_secs(2));
    let stats = handle.stats();
    println!("written {}, panicked {}", stats.written, stats.dropped.panicked);
}

/// `threadnames THREADS`: a quiet main thread and a quiet timer next to a thread for each
/// connection.
pub(crate) fn thread_names() {
    let log = fresh("threadnames").join("app.log");
    Builder::new().file(LogFile::new(&log).format(Format::text().thread())).init().unwrap();
    log::info!("main: at the start");
    let (done, wait) = mpsc::channel::<()>();
    let timer = move || {
        log::info!("timer: at the start");
        let _ = wait.recv();
        log::info!("timer: at the end");
    };
    let timer = thread::Builder::new().name("timer".into()).spawn(timer).unwrap();
    for connection in 0..number(2) {
        let name = format!("conn-{connection}");
        let served = thread::Builder::new().name(name).spawn(move || log::info!("connection {connection}")).unwrap();
        served.join().unwrap();
    }
    log::logger().flush();
    log::info!("main: at the end");
    drop(done);
    timer.join().unwrap();
    log::logger().flush();
    let text = fs::read_to_string(&log).unwrap();
    for (line, name) in [("main: ", "[main]"), ("timer: ", "[timer]"), ("connection ", "[conn-")] {
        let lines = text.lines().filter(|text| text.contains(line));
        println!(
            "{name} {} lines, {} without the name",
            lines.clone().count(),
            lines.filter(|text| !text.contains(name)).count()
        );
    }
}
