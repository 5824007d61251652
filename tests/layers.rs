//! Holds the arrows between the rooms, which `ARCHITECTURE.md` draws: each source file names only
//! what the table allows, whether by `crate::`, `super::` or `self::`, and no two files import each
//! other, not even on a detour; only a module and what stands inside it may.
#![allow(clippy::incompatible_msrv)] // only the library keeps to the oldest compiler
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says by panicking what is wrong

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// (files, rooms of the crate they may name, crates they may name). The first row that fits a path
/// counts. std is free, except what `NEVER` says.
const ARROWS: &[(&str, &[&str], &[&str])] = &[
    ("lib.rs", &["*"], &["*"]),
    ("builder.rs", &["*"], &["*"]),
    ("builder/prepare.rs", &["*"], &["*"]),
    ("builder/", &["builder", "error", "front", "queue", "record", "wanted"], &[]),
    ("_docs/", &[], &[]),
    ("plan.rs", &["*"], &["*"]),
    ("plan/", &["*"], &["*"]),
    ("wanted.rs", &[], &["log"]),
    ("watch.rs", &["disk", "error", "record", "sync"], &[]),
    ("options/units.rs", &[], &[]),
    (
        "options/",
        &["options", "builder", "error", "format", "queue", "sink", "wanted", "KIB", "MIB", "GIB"],
        &["log", "serde"],
    ),
    ("record/structured.rs", &["record"], &["log", "arrayvec", "serde_core", "serde_json"]),
    ("record/", &["record", "clock", "unix_time", "wanted"], &["log", "arrayvec"]),
    ("clock.rs", &["os", "unix_time"], &[]),
    ("unix_time.rs", &[], &[]),
    ("zone.rs", &[], &["chrono", "tz"]),
    ("event.rs", &["error", "stats"], &["log", "thiserror", "serde"]),
    ("error.rs", &["event", "stats"], &["log", "thiserror"]),
    ("stats.rs", &["event", "error", "wanted"], &["log", "thiserror", "serde"]),
    ("stats/", &["event", "wanted"], &["log"]),
    ("sync.rs", &["tests::models"], &["arc_swap", "crossbeam_channel"]),
    ("queue/", &["queue", "record", "clock", "stats", "event", "error", "os", "sync", "unix_time", "wanted"], &["log"]),
    ("front/captured.rs", &["format", "front::program", "record", "sink", "wanted"], &["log"]),
    (
        "front/",
        &["front", "record", "clock", "queue", "stats", "event", "error", "os", "sync", "wanted"],
        &["log", "env_filter", "regex", "tracing_core"],
    ),
    ("deferred/macros.rs", &["__private", "__log"], &["log"]),
    ("deferred/", &["deferred", "front::installed", "record"], &["log", "itoa"]),
    ("prometheus.rs", &["event", "stats"], &[]),
    ("log_files.rs", &["disk", "sink::file::archive_name"], &[]),
    ("handle.rs", &["queue", "stats", "event", "error", "front", "log_files"], &["log"]),
    (
        "format/",
        &["record", "format", "clock::Stamp", "error::BadOption", "error::ParseOptionError", "unix_time", "zone"],
        &["log", "arrayvec", "chrono", "serde_json"],
    ),
    (
        "tracing/",
        &["error::write_with_sources", "front::logger", "handle", "record", "wanted", "tracing"],
        &["log", "tracing_core", "tracing_subscriber", "tracing"],
    ),
    (
        "writer/",
        &[
            "record",
            "clock",
            "queue",
            "format",
            "sink",
            "stats",
            "event",
            "error",
            "os",
            "sync",
            "unix_time",
            "wanted",
            "watch",
            "writer",
        ],
        &["log"],
    ),
    ("sink/socket.rs", &["sink"], &["rustix"]),
    ("sink/socket/", &["os"], &["rustix"]),
    ("sink/syslog.rs", &["error::BadOption", "format", "sink", "wanted"], &["log", "serde"]),
    ("sink/journald.rs", &["format", "sink", "wanted"], &["log", "rustix"]),
    ("sink/file/space.rs", &["event"], &[]),
    ("sink/file/schedule.rs", &["sink::rotation", "unix_time", "zone"], &["chrono"]),
    ("sink/file/archive_name.rs", &["disk::random_part"], &["chrono"]),
    ("sink/file/retention.rs", &[], &[]),
    ("sink/rotation.rs", &[], &[]),
    ("sink/", &["disk", "error::BadOption", "event", "format", "unix_time", "wanted", "zone"], &["log"]),
    ("disk/random_part.rs", &[], &[]),
    ("disk/", &["os"], &["fs2", "rustix", "flate2"]),
    ("os/", &["sync"], &["libc", "windows_sys"]),
];

/// What a room never names, whatever else it may.
const NEVER: &[(&str, &[&str])] = &[
    ("sink/", &["std::fs", "std::thread", "SystemTime::now", "Instant::now"]),
    ("format/", &["std::fs", "std::thread", "SystemTime::now", "Instant::now", "Local::now", "Utc::now"]),
    ("writer/", &["std::fs", "crate::disk", "crate::sink::file", "crate::sink::log_file", "crossbeam"]),
    ("front/", &["std::fs", "Mutex", "RwLock", "Condvar", "RefCell"]),
    ("handle.rs", &["crate::writer", "crate::sink"]),
    ("sink/file/space.rs", &["std::io", "std::fs"]),
    ("sink/file/schedule.rs", &["std::io", "std::fs", "Local::now", "Utc::now"]),
    ("sink/file/archive_name.rs", &["std::io", "std::fs", "Local::now", "Utc::now"]),
    ("sink/file/retention.rs", &["std::io", "std::fs"]),
];

/// A source file, and the paths that it names.
struct Source {
    /// As `sink/batch.rs`, below `src`.
    file: String,
    /// As `sink::batch`; empty for the crate itself.
    module: String,
    /// The code without its comments and its tests.
    code: String,
    /// As `sink::batch::Batch`, from the crate's root on.
    paths: BTreeSet<String>,
    /// What it gives out under a path of its own: the name, and the path from the crate's root on.
    exports: BTreeMap<String, String>,
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.ends_with("src/tests") {
            // Tests may name everything.
        } else if path.is_dir() {
            find(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let folder = source_folder();
    let mut files = Vec::new();
    find(&folder, &mut files);
    assert!(files.len() > 15, "the sources are not where they were");
    files.sort();
    let name = |path: &PathBuf| path.strip_prefix(&folder).unwrap().to_str().unwrap().replace('\\', "/");
    files.iter().map(|path| Source::new(name(path), &fs::read_to_string(path).unwrap())).collect()
}

impl Source {
    fn new(file: String, text: &str) -> Self {
        let text = text.split("\nmod tests {").next().unwrap();
        let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let code = code.join("\n");
        let module = file.trim_end_matches(".rs").trim_end_matches("/mod");
        let module = if module == "lib" { String::new() } else { module.replace('/', "::") };
        let (mut paths, mut exports) = (BTreeSet::new(), BTreeMap::new());
        for (start, _) in code.match_indices("use ").filter(|(at, _)| is_word_start(&code, *at)) {
            let Some(end) = code[start..].find(';') else { continue };
            let before = code[..start].trim_end();
            let is_export = before.ends_with("pub") || before.ends_with("pub(crate)") || before.ends_with("pub(super)");
            let tree: String = code[start + 4..start + end].split_whitespace().collect::<Vec<_>>().join(" ");
            for (path, alias) in expanded(&tree) {
                let name = alias.unwrap_or_else(|| path.rsplit("::").next().unwrap().to_owned());
                let path_here = absolute(&path, &module);
                if is_export {
                    exports.insert(name, path_here.clone().unwrap_or_else(|| joined(&module, &path)));
                }
                paths.extend(path_here);
            }
        }
        for start in ["crate::", "super::", "self::"] {
            for (at, _) in code.match_indices(start).filter(|(at, _)| is_word_start(&code, *at)) {
                let path = code[at..].split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).next().unwrap();
                // Before a brace, it is the beginning of a tree.
                if !path.ends_with(':') {
                    paths.extend(absolute(path, &module));
                }
            }
        }
        Self { file, module, code, paths, exports }
    }
}

fn is_word_start(code: &str, at: usize) -> bool {
    !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
}

/// The paths of a `use`, one for each name, and the names that are given to them.
fn expanded(tree: &str) -> Vec<(String, Option<String>)> {
    let Some((prefix, rest)) = tree.split_once('{') else {
        let (path, alias) = tree.split_once(" as ").unwrap_or((tree, ""));
        return vec![(path.trim().to_owned(), Some(alias.trim().to_owned()).filter(|alias| !alias.is_empty()))];
    };
    let inside = rest.rsplit_once('}').map_or(rest, |(inside, _)| inside);
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for c in inside.chars() {
        match c {
            ',' if depth == 0 => parts.push(String::new()),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                parts.last_mut().unwrap().push(c);
            }
        }
    }
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    parts.flat_map(|part| expanded(&format!("{}{part}", prefix.trim()))).collect()
}

/// A path as it leads from the crate's root; `None` if it begins with the name of another crate or
/// of a child.
fn absolute(path: &str, module: &str) -> Option<String> {
    let mut here: Vec<_> = module.split("::").filter(|part| !part.is_empty()).collect();
    let mut parts: Vec<_> = path.split("::").collect();
    let mut is_ours = false;
    while let Some(first) = parts.first() {
        match *first {
            "crate" => here.clear(),
            "super" => drop(here.pop()),
            "self" => {}
            _ => break,
        }
        is_ours = true;
        parts.remove(0);
    }
    is_ours.then(|| here.into_iter().chain(parts).collect::<Vec<_>>().join("::"))
}

fn joined(module: &str, path: &str) -> String {
    if module.is_empty() { path.to_owned() } else { format!("{module}::{path}") }
}

/// Where a path leads in the end: the module that has the name, after all re-exports.
fn resolved<'a>(path: &str, modules: &BTreeMap<&'a str, &'a Source>) -> Option<&'a str> {
    let parts: Vec<_> = path.split("::").collect();
    let is_module = |count: &usize| modules.contains_key(&*parts[..*count].join("::"));
    let count = (1..=parts.len()).rev().find(is_module).unwrap_or(0);
    let (module, source) = modules.get_key_value(&*parts[..count].join("::"))?;
    let export = parts.get(count).and_then(|name| source.exports.get(*name)).filter(|export| *export != path);
    match export {
        Some(export) => resolved(export, modules),
        None => Some(module),
    }
}

/// Whether one module stands inside the other.
fn is_inside(one: &str, other: &str) -> bool {
    let inside = |inner: &str, outer: &str| outer.is_empty() || inner.starts_with(&format!("{outer}::"));
    one == other || inside(one, other) || inside(other, one)
}

/// For each module: the modules that it can reach by imports, over whichever detour, but not by way
/// of what it stands in or what stands in it.
fn imports(sources: &[Source]) -> BTreeMap<&str, BTreeSet<&str>> {
    let modules: BTreeMap<_, _> = sources.iter().map(|source| (&*source.module, source)).collect();
    let of = |source: &Source| {
        let targets = source.paths.iter().filter_map(|path| resolved(path, &modules));
        targets.filter(|target| !is_inside(&source.module, target)).collect()
    };
    sources.iter().map(|source| (&*source.module, of(source))).collect()
}

/// The groups of modules that lead to each other.
fn cycles<'a>(imports: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<Vec<&'a str>> {
    let reached = |from: &'a str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(module) = open.pop() {
            open.extend(imports[module].iter().filter(|target| seen.insert(**target)));
        }
        seen
    };
    let reached: BTreeMap<_, _> = imports.keys().map(|module| (*module, reached(module))).collect();
    let mut groups: Vec<Vec<_>> = Vec::new();
    for module in reached.keys().filter(|module| reached[*module].contains(*module)) {
        if !groups.iter().any(|group| group.contains(module)) {
            let both = |other: &&&str| reached[module].contains(**other) && reached[*other].contains(module);
            groups.push(reached.keys().filter(both).copied().collect());
        }
    }
    groups
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
fn each_room_names_only_what_lies_after_its_arrows() {
    let dependencies = dependencies();
    let mut wrong = Vec::new();
    let sources = sources();
    for Source { file, module, code, paths, .. } in &sources {
        let row = ARROWS.iter().find(|(files, ..)| file.starts_with(files));
        let (files, rooms, crates) = row.unwrap_or_else(|| panic!("{file} is in no room: give it a row in `ARROWS`"));
        // The files of a folder may name each other, unless they have rows of their own.
        let own = files.strip_suffix('/').unwrap_or(module).replace('/', "::");
        let may = |path: &&String| {
            let is_own = own == **path || path.starts_with(&format!("{own}::"));
            is_own || path.is_empty() || rooms.iter().any(|room| *room == "*" || path.starts_with(room))
        };
        wrong.extend(paths.iter().filter(|path| !may(path)).map(|path| format!("{file} names crate::{path}")));
        for dependency in &dependencies {
            let is_used = code.match_indices(&format!("{dependency}::")).any(|(at, _)| is_word_start(code, at));
            if is_used && !crates.contains(&"*") && !crates.contains(&dependency.as_str()) {
                wrong.push(format!("{file} names the crate {dependency}"));
            }
        }
        for (_, words) in NEVER.iter().filter(|(files, _)| file.starts_with(files)) {
            let is_named = |word: &&&str| match word.strip_prefix("crate::") {
                Some(path) => paths.iter().any(|named| named == path || named.starts_with(&format!("{path}::"))),
                None => code.contains(**word),
            };
            wrong.extend(words.iter().filter(is_named).map(|word| format!("{file} names {word}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_files_import_each_other() {
    let sources = sources();
    let imports = imports(&sources);
    assert!(imports["sink::file"].contains("sink::batch"), "re-exports are not followed");
    let mut lines = Vec::new();
    for group in cycles(&imports) {
        lines.push(format!("{group:?} import each other:"));
        for module in &group {
            let targets: Vec<_> = imports[module].iter().filter(|target| group.contains(target)).collect();
            lines.push(format!("  {module} imports {targets:?}"));
        }
    }
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

#[test]
fn paths_are_read_as_the_compiler_reads_them() {
    let source = |file: &str, text: &str| Source::new(file.to_owned(), text);
    let of = |text: &str| source("a/b.rs", text).paths.into_iter().collect::<Vec<_>>();
    assert_eq!(of("use super::{c::{D, e}, f};\n"), ["a::c::D", "a::c::e", "a::f"]);
    assert_eq!(of("pub(crate) use super::super::g as h;"), ["g"]);
    assert_eq!(of("fn x() -> crate::i::J<self::K> {}"), ["a::b::K", "i::J"]);
    assert_eq!(of("// use crate::l;\n#[cfg(test)]\nmod tests { use crate::m; }"), Vec::<String>::new());

    // `a` gives out what `b` has: who names it imports `b`, on a detour, and `b` imports it back.
    let sources = [
        source("a/mod.rs", "mod b;\npub(crate) use b::B;\npub(crate) use self::b::C;"),
        source("a/b.rs", "use crate::d::D;"),
        source("d.rs", "use crate::a::C;"),
        source("e.rs", "use crate::d::D;"),
    ];
    assert_eq!(cycles(&imports(&sources)), [["a::b", "d"]]);
}

#[test]
fn each_file_begins_with_what_it_is() {
    for Source { file, .. } in sources() {
        let text = fs::read_to_string(source_folder().join(&file)).unwrap();
        assert!(text.starts_with("//! ") || text.starts_with("#![doc"), "{file} has no first doc line");
    }
}

/// The most fields that a reader can hold in mind.
const MOST_FIELDS: usize = 12;

#[test]
fn no_struct_has_more_than_a_dozen_fields() {
    // Each field there is a key of a configuration.
    let sources: Vec<_> = sources().into_iter().filter(|source| !source.file.starts_with("options/")).collect();
    let (mut structs, mut wrong) = (0, Vec::new());
    for Source { file, code, .. } in &sources {
        for (at, _) in code.match_indices("struct ").filter(|(at, _)| is_word_start(code, *at)) {
            let body = code[at..].split_once('{').filter(|(head, _)| !head.contains([';', '(']));
            let Some((head, body)) = body.and_then(|(head, rest)| Some((head, rest.split_once("\n}")?.0))) else {
                continue;
            };
            let is_field = |line: &&str| line.starts_with("    ") && !line[4..].starts_with([' ', '#']);
            let fields = body.lines().filter(is_field).count();
            structs += 1;
            if fields > MOST_FIELDS {
                wrong.push(format!("{file}: `{}` has {fields} fields", head.trim()));
            }
        }
    }
    assert!(structs > 100, "only {structs} structs are found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_is_only_in_os() {
    for Source { file, code, .. } in sources().iter().filter(|source| !source.file.starts_with("os/")) {
        assert!(!code.contains("unsafe ") && !code.contains("unsafe_code"), "{file} has unsafe code");
    }
}
