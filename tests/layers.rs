//! The arrows between the rooms: each source file names only what the table allows. `ARCHITECTURE.md` has the drawing.
#![allow(clippy::incompatible_msrv)] // only the library keeps to the oldest compiler
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says by panicking what is wrong

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// (files, rooms of the crate they may name, crates they may name). The first row that fits a path counts. std is free, but for what
/// `NEVER` says.
const ARROWS: &[(&str, &[&str], &[&str])] = &[
    ("lib.rs", &["*"], &["*"]),
    ("builder.rs", &["*"], &["*"]),
    ("_docs/", &[], &[]),
    ("plan.rs", &["*"], &["*"]),
    ("options/units.rs", &[], &[]),
    ("options/", &["options", "builder", "error", "format", "queue", "sink", "KIB", "MIB", "GIB"], &["log", "serde"]),
    ("record/", &["record", "clock"], &["log", "arrayvec"]),
    ("clock.rs", &["os"], &[]),
    ("event.rs", &["error", "stats"], &["log", "thiserror", "serde"]),
    ("error.rs", &["event", "stats"], &["log", "thiserror"]),
    ("stats.rs", &["event", "error"], &["log", "thiserror", "serde"]),
    ("sync.rs", &["tests::models"], &["arc_swap", "crossbeam_channel"]),
    ("queue/", &["queue", "record", "clock", "stats", "event", "error", "os", "sync"], &["log"]),
    ("front/captured.rs", &["format", "sink"], &["log"]),
    (
        "front/",
        &["front", "record", "clock", "queue", "stats", "event", "error", "os", "sync"],
        &["log", "env_filter", "regex"],
    ),
    ("handle.rs", &["queue", "stats", "event", "error", "front::filter"], &["log"]),
    (
        "format/",
        &["record", "format", "clock::Stamp", "error::ParseOptionError"],
        &["log", "chrono", "serde_json", "anstyle"],
    ),
    ("writer/", &["record", "clock", "queue", "format", "sink", "stats", "event", "error", "os", "writer"], &["log"]),
    ("sink/space.rs", &["event"], &[]),
    ("sink/rotation.rs", &[], &["chrono"]),
    ("sink/archive.rs", &[], &["chrono"]),
    ("sink/retention.rs", &[], &[]),
    ("sink/", &["disk", "event", "format"], &["log", "anstyle_query"]),
    ("disk/", &["os"], &["fs2", "rustix", "flate2"]),
    ("os/", &["sync"], &["libc"]),
];

/// What a room never names, whatever else it may.
const NEVER: &[(&str, &[&str])] = &[
    ("sink/", &["std::fs", "std::thread", "SystemTime::now", "Instant::now"]),
    ("format/", &["std::fs", "std::thread", "SystemTime::now", "Instant::now", "Local::now", "Utc::now"]),
    (
        "writer/",
        &["std::fs", "crate::disk", "crate::sink::file", "crate::sink::log_file", "crate::sink::space", "crossbeam"],
    ),
    ("front/", &["std::fs", "Mutex", "RwLock", "Condvar", "RefCell"]),
    ("handle.rs", &["crate::writer", "crate::sink"]),
    ("sink/space.rs", &["std::io", "std::fs"]),
    ("sink/rotation.rs", &["std::io", "std::fs", "Local::now", "Utc::now"]),
    ("sink/archive.rs", &["std::io", "std::fs", "Local::now", "Utc::now"]),
    ("sink/retention.rs", &["std::io", "std::fs"]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.ends_with("src/tests") {
            // Tests may name everything.
        } else if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The code of a file without its comments and its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The first path segment behind each `prefix`.
fn named<'a>(code: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let word = |rest: &'a str| rest.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).next().unwrap();
    code.match_indices(prefix).map(|(at, _)| word(&code[at + prefix.len()..])).collect()
}

/// The crates that `Cargo.toml` lists, as code names them.
fn dependencies() -> BTreeSet<String> {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]") && !line.contains("dev-");
        } else if let (true, Some((name, _))) = (inside, line.split_once(" = ")) {
            names.insert(name.replace('-', "_"));
        }
    }
    assert!(names.contains("log") && names.contains("libc"), "{names:?}");
    names
}

#[test]
fn each_room_names_only_what_lies_behind_its_arrows() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&source, &mut files);
    assert!(files.len() > 15, "the sources are not where they were");
    let dependencies = dependencies();
    let mut wrong = Vec::new();
    for path in files {
        let name = path.strip_prefix(&source).unwrap().to_str().unwrap().replace('\\', "/");
        let code = code(&path);
        let row = ARROWS.iter().find(|(files, ..)| name.starts_with(files));
        let (_, rooms, crates) = row.unwrap_or_else(|| panic!("{name} is in no room: give it a row in `ARROWS`"));
        for target in named(&code, "crate::") {
            if !rooms.iter().any(|room| *room == "*" || target.starts_with(room)) {
                wrong.push(format!("{name} names crate::{target}"));
            }
        }
        for dependency in &dependencies {
            let used = !named(&code, &format!("{dependency}::")).is_empty();
            if used && !crates.contains(&"*") && !crates.contains(&dependency.as_str()) {
                wrong.push(format!("{name} names the crate {dependency}"));
            }
        }
        for (_, words) in NEVER.iter().filter(|(files, _)| name.starts_with(files)) {
            wrong.extend(words.iter().filter(|word| code.contains(**word)).map(|word| format!("{name} names {word}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_file_begins_with_what_it_is() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&source, &mut files);
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! ") || text.starts_with("#![doc"), "{} has no first doc line", path.display());
    }
}

#[test]
fn unsafe_code_is_only_in_os() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&source, &mut files);
    for path in files.iter().filter(|path| !path.starts_with(source.join("os"))) {
        let code = code(path);
        assert!(!code.contains("unsafe ") && !code.contains("unsafe_code"), "{} has unsafe code", path.display());
    }
}
