//! The account as a page of metrics.
#![allow(clippy::incompatible_msrv)] // only the library keeps to the oldest compiler
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says by panicking what is wrong

use log::{Level, Log as _, Record};
use unfazed::{Builder, SinkOutput};

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
