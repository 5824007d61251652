//! The account as a page of metrics.
#![allow(clippy::incompatible_msrv)] // only the library keeps to the oldest compiler
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says by panicking what is wrong

use log::{Level, Log as _, Record};
use unfazed::{Builder, SinkOutput};

#[test]
fn each_reason_has_its_number_and_each_metric_its_type() {
    let (_logger, handle) = Builder::new().output(SinkOutput::writer("own", std::io::sink())).build().unwrap();
    let mut stats = handle.stats();
    for dropped in [&mut stats.dropped, &mut stats.outputs[0].dropped] {
        (dropped.queue_full, dropped.disk_full, dropped.io_error) = (1, 2, 3);
        (dropped.panicked, dropped.shutdown) = (4, 5);
    }
    let page = stats.to_prometheus();
    let reasons = ["queue_full", "disk_full", "io_error", "panicked", "shutdown"];
    for (number, reason) in (1..).zip(reasons) {
        for line in [
            format!("unfazed_records_dropped_total{{reason=\"{reason}\"}} {number}\n"),
            format!("unfazed_output_dropped_total{{output=\"own\",reason=\"{reason}\"}} {number}\n"),
        ] {
            assert!(page.contains(&line), "{line} in {page}");
        }
    }
    for described in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = described.split_once(' ').unwrap();
        assert_eq!(kind, if name.ends_with("_total") { "counter" } else { "gauge" }, "{name}");
    }
}

#[test]
fn each_metric_is_described_once_and_names_are_escaped() {
    let output = SinkOutput::writer("a \"b\"\\\n", std::io::sink());
    let (logger, handle) = Builder::new().output(output).build().unwrap();
    logger.log(&Record::builder().level(Level::Info).args(format_args!("hello")).build());
    drop(logger);
    let page = handle.stats().to_prometheus();
    let name = r#"output="a \"b\"\\\n""#;
    for line in [
        "unfazed_records_accepted_total 1".to_owned(),
        format!("unfazed_output_offered_total{{{name}}} 1"),
        format!("unfazed_output_dropped_total{{{name},reason=\"io_error\"}} 0"),
    ] {
        assert!(page.lines().any(|it| it == line), "{line} in {page}");
    }
    let described: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let mut once = described.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(described.len(), once.len());
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(described.iter().any(|it| it.split(' ').next() == Some(name)), "{line}");
        assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
    }
}
