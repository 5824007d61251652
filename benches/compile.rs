//! What a log call costs the compiler, by `log`'s macros and by the crate's own:
//! `cargo bench --bench compile` (Linux).
//!
//! A library of a hundred functions with ten calls each is compiled by cargo, in turns with the one
//! macros and the other; its dependencies are built before. What counts is the processor time of
//! cargo and the compiler, to 10 ms.

#![allow(clippy::print_stdout, clippy::unwrap_used)] // a benchmark prints, and stops at the first surprise

mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The calls of a table's row; `@` stands for the crate of the macros.
const ROWS: [(&str, &[&str]); 8] = [
    ("a static text", &[r#"@::debug!("static text");"#]),
    ("a value", &[r#"@::info!("got {} bytes", id);"#]),
    ("three values", &[r#"@::info!("user {} logged in from {} in {:.2} ms", id, address, ms);"#]),
    ("two expressions", &[r#"@::info!("got {} bytes in {:.2} ms", name.len(), ms * 1e3);"#]),
    ("a width", &[r#"@::trace!("{:?} {:>8} {}", option, name, ms);"#]),
    ("a type that is not stored", &[r#"@::error!("{}: {}", error, id);"#]),
    ("a target", &[r#"@::info!(target: "net", "peer {}", address);"#]),
    ("two key-values", &[r#"@::error!(code = id, name; "request {id} failed");"#]),
];
const FUNCTIONS: usize = 100;
const CALLS: usize = 10;
const ROUNDS: usize = 5;

fn main() {
    support::print_header("cargo bench --bench compile");
    println!("\nProcessor seconds for {} calls, medians of {ROUNDS} in turns:\n", FUNCTIONS * CALLS);
    println!("| | `log` | own macros | ratio |\n|---|---:|---:|---:|");
    let dir = tempfile::tempdir().unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = format!(
        "[package]\nname = 'calls'\nedition = '2024'\n[workspace]\n[dependencies]\nlog = '0.4'\nunfazed = {{ path = {here:?} }}\n"
    );
    fs::write(dir.path().join("Cargo.toml"), manifest).unwrap();
    // The same versions of the dependencies, without asking a registry.
    fs::copy(here.join("Cargo.lock"), dir.path().join("Cargo.lock")).unwrap();
    fs::create_dir(dir.path().join("src")).unwrap();
    let all: Vec<&str> = ROWS.iter().flat_map(|(_, calls)| calls.iter().copied()).collect();
    compare(dir.path(), "all of these, optimised", &all, &["--release"]);
    compare(dir.path(), "all of these, not optimised", &all, &[]);
    for (name, calls) in ROWS {
        compare(dir.path(), name, calls, &[]);
    }
}

/// Prints a row.
fn compare(dir: &Path, name: &str, calls: &[&str], options: &[&str]) {
    // Builds the dependencies.
    build(dir, "log", calls, options);
    let mut seconds = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (crate_name, seconds) in ["log", "unfazed"].into_iter().zip(&mut seconds) {
            seconds.push(build(dir, crate_name, calls, options));
        }
    }
    let [log, own] = seconds.map(median);
    println!("| {name} | {log:.2} | {own:.2} | {:.2} |", own / log);
}

/// Compiles the library with these macros, and returns the processor seconds that it took.
fn build(dir: &Path, crate_name: &str, calls: &[&str], options: &[&str]) -> f64 {
    let mut source = String::new();
    let mut calls = calls.iter().cycle();
    for function in 0..FUNCTIONS {
        let arguments =
            "id: u64, name: &str, ms: f64, address: std::net::IpAddr, option: Option<u32>, error: &std::io::Error";
        writeln!(source, "#[allow(unused_variables)]\npub fn f{function}({arguments}) {{").unwrap();
        for call in calls.by_ref().take(CALLS) {
            writeln!(source, "    {}", call.replace('@', crate_name)).unwrap();
        }
        writeln!(source, "}}").unwrap();
    }
    fs::write(dir.join("src/lib.rs"), source).unwrap();
    let before = children_seconds();
    let cargo = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline"])
        .args(options)
        .current_dir(dir)
        .env("CARGO_TARGET_DIR", dir.join("target"))
        .env("CARGO_INCREMENTAL", "0")
        .status();
    assert!(cargo.unwrap().success());
    children_seconds() - before
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Returns the processor time of all processes that this one has waited for.
fn children_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // Of the numbers after the name, in parentheses, the 14th and the 15th, in hundredths.
    let numbers = stat.rsplit(')').next().unwrap().split_whitespace().skip(13).take(2);
    numbers.map(|number| number.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}
