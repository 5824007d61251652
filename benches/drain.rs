//! How many records a second the writer takes, lays out and hands on, on one thread: `cargo bench
//! --features __bench --bench drain`.

#![allow(clippy::print_stdout, clippy::unwrap_used)] // a benchmark prints, and stops at the first surprise

mod support;

use std::hint::black_box;
use std::time::Instant;

use log::LevelFilter;
use unfazed::{Builder, Format, LogFile};

const RECORDS: u64 = 8000;
const ROUNDS: usize = 100;

fn main() {
    support::print_header("cargo bench --features __bench --bench drain");
    log::set_max_level(LevelFilter::Trace);
    let custom = Format::custom(|line, record| {
        use std::io::Write as _;
        writeln!(line, "{} {}", record.level(), record.message())
    });
    let all = |format: Format| format.thread().location().field("service.name", "shop");
    let formats = [
        ("text", Format::text()),
        ("text_with_options", all(Format::text()).multiline()),
        ("logfmt", Format::logfmt()),
        ("json", Format::json()),
        ("json_with_options", all(Format::json())),
        ("otel", Format::otel()),
        ("ecs", Format::ecs()),
        ("gelf", Format::gelf()),
        ("google_cloud", Format::google_cloud()),
        ("custom", custom),
    ];
    println!("million records a second, of {ROUNDS} rounds of {RECORDS}");
    println!("| format | median | least | most |\n|---|---:|---:|---:|");
    for (name, format) in formats {
        // Into a device that takes everything: the question is the writer's own work.
        let file = LogFile::new("/dev/null").format(format);
        let builder = Builder::new().file(file).capacity(RECORDS as usize * 2);
        let (logger, mut step) = builder.build_stepped().unwrap();
        let mut rounds: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                for number in 0..RECORDS {
                    let from = black_box("10.0.0.1");
                    log::info!(logger: &logger, "user {} logged in from {} in {:.2} ms", number, from, 1.37);
                }
                let begun = Instant::now();
                let mut records = 0;
                while records < RECORDS {
                    records += step() as u64;
                }
                RECORDS as f64 / begun.elapsed().as_secs_f64() / 1e6
            })
            .collect();
        rounds.sort_unstable_by(f64::total_cmp);
        println!("| {name} | {:.2} | {:.2} | {:.2} |", rounds[ROUNDS / 2], rounds[0], rounds[ROUNDS - 1]);
    }
}
