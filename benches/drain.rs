//! How many records a second the writer takes, lays out and hands on, on one thread: `cargo bench
//! --features __bench --bench drain`.

#![allow(clippy::print_stdout, clippy::unwrap_used)] // a benchmark prints, and stops at the first surprise

mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use log::LevelFilter;
use unfazed::{Builder, Format, LogFile};

const RECORDS: u64 = 8000;

fn main() {
    support::print_header("cargo bench --features __bench --bench drain");
    log::set_max_level(LevelFilter::Trace);
    let mut criterion = Criterion::default().configure_from_args();
    let custom = Format::custom(|line, record| {
        use std::io::Write as _;
        writeln!(line, "{} {}", record.level(), record.message())
    });
    let all = |format: Format| format.thread().place().field("service.name", "shop");
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
    let mut group = criterion.benchmark_group("drain");
    group.throughput(Throughput::Elements(RECORDS));
    for (name, format) in formats {
        // Into a device that takes everything: the question is the writer's own work.
        let file = LogFile::new("/dev/null").format(format);
        let builder = Builder::new().file(file).capacity(RECORDS as usize * 2);
        let (logger, mut step) = builder.build_stepped().unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let mut taken = Duration::ZERO;
                for _ in 0..rounds {
                    for number in 0..RECORDS {
                        let from = black_box("10.0.0.1");
                        log::info!(logger: &logger, "user {} logged in from {} in {:.2} ms", number, from, 1.37);
                    }
                    let begun = Instant::now();
                    let mut records = 0;
                    while records < RECORDS {
                        records += step() as u64;
                    }
                    taken += begun.elapsed();
                }
                taken
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
