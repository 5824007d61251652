//! The documentation against the code: every option stands in the table of options, every message
//! that a page quotes is one that the writer lays out, prose is wrapped, and the words are those of
//! the glossary.
#![allow(clippy::incompatible_msrv)] // only the library keeps to the oldest compiler
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says by panicking what is wrong

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const WIDTH: usize = 100;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|other| other == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The pages, and the documents that a newcomer reads.
fn pages() -> Vec<PathBuf> {
    let mut pages = files(&root().join("src/_docs"), "md");
    pages.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root().join(name)));
    pages
}

/// The text of an `impl`, with the macros of `shared_options.rs` that it names.
fn expanded(body: &str) -> String {
    let shared = fs::read_to_string(root().join("src/sink/shared_options.rs")).unwrap();
    let macros = shared.split("\nmacro_rules! ").skip(1);
    let named = macros.filter(|text| body.contains(&format!("    {}!(", text.split(' ').next().unwrap())));
    let texts = named.map(|text| text.split_once("\n}\n").unwrap().0);
    [body].into_iter().chain(texts).collect::<Vec<_>>().join("\n\n")
}

/// The methods of a type that take it by value and give it back: its options.
fn options_in_code(owner: &str) -> BTreeSet<String> {
    documented_options(owner).into_iter().map(|(option, _)| option).collect()
}

/// The same, each with its documentation.
fn documented_options(owner: &str) -> Vec<(String, String)> {
    let mut options = Vec::new();
    for path in files(&root().join("src"), "rs") {
        let text = fs::read_to_string(path).unwrap();
        let Some((_, body)) = text.split_once(&format!("\nimpl {owner} {{\n")) else { continue };
        let body = expanded(body.split_once("\n}\n").unwrap().0);
        let methods: Vec<&str> = body.split("    pub fn ").collect();
        for (before, method) in methods.iter().zip(&methods[1..]) {
            // A former name stays for programs that use it, and is shown to nobody else.
            let doc = before.rsplit("\n\n").next().unwrap();
            if doc.contains("former name") {
                continue;
            }
            let (name, rest) = method.split_once('(').unwrap();
            let signature = rest.split_once('{').unwrap().0;
            let by_value = ["self", "mut self"].iter().any(|receiver| rest.trim_start().starts_with(receiver));
            if by_value && signature.contains("-> Self") {
                options.push((name.split('<').next().unwrap().to_owned(), doc.to_owned()));
            }
        }
    }
    options
}

/// The names in the first column of the table with this heading.
fn options_in_table(heading: &str) -> BTreeSet<String> {
    let page = fs::read_to_string(root().join("src/_docs/config.md")).unwrap();
    let section = page.split_once(&format!("\n# {heading}\n")).unwrap().1;
    let section = section.split("\n# ").next().unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `"));
    cells.map(|cell| cell.split('(').next().unwrap().to_owned()).collect()
}

#[test]
fn every_option_stands_in_the_table_and_every_row_is_an_option() {
    for owner in ["Builder", "LogFile", "Console", "Syslog", "Journald", "Rotation", "Format"] {
        let options = options_in_code(owner);
        assert!(!options.is_empty(), "no option of `{owner}` found: has its `impl` moved?");
        assert_eq!(options_in_table(owner), options, "src/_docs/config.md (left) against the code (right): {owner}");
    }
}

#[test]
fn every_option_has_an_example() {
    for owner in ["Builder", "LogFile", "Console", "Syslog", "Journald", "Rotation", "Format", "SinkOutput"] {
        for (option, doc) in documented_options(owner) {
            assert!(doc.contains("```"), "`{option}` of `{owner}` has no example");
        }
    }
}

/// The text of a configuration with every key, in `tests/config.rs`, by the tables it consists of:
/// the heading, nothing for the first one, and the keys.
fn tables_of_everything() -> Vec<(String, BTreeSet<String>)> {
    let tests = fs::read_to_string(root().join("tests/config.rs")).unwrap();
    let (_, rest) = tests.split_once("const EVERYTHING: &str = r#\"\n").unwrap();
    let mut tables = vec![(String::new(), BTreeSet::new())];
    for line in rest.split_once("\n\"#;").unwrap().0.lines() {
        if line.starts_with('[') {
            tables.push((line.trim_matches(['[', ']']).to_owned(), BTreeSet::new()));
        } else if let Some((key, _)) = line.split_once(" = ") {
            tables.last_mut().unwrap().1.insert(key.to_owned());
        }
    }
    tables
}

/// Options that take code.
const ONLY_IN_CODE: &[&str] = &["context", "filter_with", "on_event", "output", "sink"];

#[test]
fn every_option_has_a_key_in_a_file() {
    let tables = tables_of_everything();
    let headings: BTreeSet<String> = tables.iter().map(|(heading, _)| heading.clone()).collect();
    for (owner, tables_of_owner) in [
        ("Builder", &[""][..]),
        ("LogFile", &["file"]),
        ("Console", &["stderr", "stdout"]),
        ("Syslog", &["syslog"]),
        ("Journald", &["journald"]),
    ] {
        let own = tables.iter().filter(|(heading, _)| tables_of_owner.contains(&heading.as_str()));
        let keys: BTreeSet<String> = own.flat_map(|(_, keys)| keys.clone()).collect();
        for option in options_in_code(owner) {
            let has_key = match option.as_str() {
                "console" => headings.contains("stderr") && headings.contains("stdout"),
                // `Config::watch`: the file that is followed is the one that is read.
                "watch" => true,
                // The same key in another form.
                "level" | "levels" => keys.contains("level") || keys.contains("levels"),
                option => keys.contains(option) || owner == "Builder" && headings.contains(option),
            };
            let takes_code = ONLY_IN_CODE.contains(&option.as_str());
            assert!(has_key != takes_code, "tests/config.rs: `{option}` of `{owner}`: in a file {has_key}");
        }
    }
    let tests = fs::read_to_string(root().join("tests/config.rs")).unwrap();
    for option in options_in_code("Format").into_iter().chain(options_in_code("Rotation")) {
        let key = match option.as_str() {
            "or_size" => "size",
            "field" => "fields",
            option => option,
        };
        assert!(tests.contains(&format!("{key} = ")), "tests/config.rs: `{option}`");
    }
}

/// Options whose like the loggers on the pages about migrating have not got.
const HAVE_NO_LIKE: &[&str] = &[
    "backlog",
    "error_reserve",
    "flush_on_crash",
    "fsync",
    "group",
    "max_len",
    "max_total_size",
    "min_free_space",
    "mode",
    "multiline",
    "owner",
    "patience",
    "retain",
    "safe_integers",
    "short_target",
    "socket",
    "structured_data",
    "when_low",
];

#[test]
fn every_option_stands_on_a_page_about_migrating_or_has_no_like() {
    let pages = files(&root().join("src/_docs/migrating"), "md");
    let text: String = pages.iter().map(|page| fs::read_to_string(page).unwrap()).collect();
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).collect();
    // The second column is ours. A bar in a closure is written with a backslash.
    let ours: Vec<&str> = rows.iter().filter_map(|row| row.split_once(" | ")).map(|(_, ours)| ours).collect();
    let mut wrong = Vec::new();
    for owner in ["Builder", "LogFile", "Console", "Syslog", "Journald", "Rotation", "Format"] {
        for option in options_in_code(owner) {
            let forms = [format!("{option}("), format!("`{option}`"), format!("::{option}`")];
            let is_there = ours.iter().any(|cell| forms.iter().any(|form| cell.contains(form)));
            let has_like = !HAVE_NO_LIKE.contains(&option.as_str());
            if is_there != has_like {
                wrong.push(format!("`{option}` of `{owner}`: on a page {is_there}"));
            }
        }
    }
    assert!(wrong.is_empty(), "src/_docs/migrating: {wrong:#?}");
    for constructor in ["Rotation::every", "Config::watch"] {
        assert!(ours.iter().any(|cell| cell.contains(constructor)), "src/_docs/migrating: `{constructor}`");
    }
}

/// Whether the pieces between a message's arguments stand in the line, in this order.
fn could_be(template: &str, line: &str) -> bool {
    let mut rest = line;
    for (index, piece) in template.split('{').enumerate() {
        let literal = if index == 0 { piece } else { piece.split_once('}').map_or(piece, |(_, literal)| literal) };
        match rest.find(literal) {
            Some(0) if index == 0 => rest = &rest[literal.len()..],
            Some(at) if index > 0 => rest = &rest[at + literal.len()..],
            _ => return false,
        }
    }
    true
}

#[test]
fn every_line_of_the_crate_that_a_page_quotes_is_one_that_it_writes() {
    let sources = files(&root().join("src/writer"), "rs");
    let code: String = sources.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let templates: Vec<&str> =
        code.split("format_args!(\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let mut quoted = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for line in text.lines().filter(|line| line.starts_with("20")) {
            let Some((_, said)) = line.split_once(" unfazed: ") else { continue };
            quoted += 1;
            // A template without a word fits anything.
            let fits = templates.iter().filter(|template| template.contains(' '));
            assert!(fits.clone().any(|template| could_be(template, said)), "{}: {line}", page.display());
            for key in said.split(' ').filter_map(|word| word.split_once('=')).map(|(key, _)| key) {
                let known = code.contains(&format!("\"{key}\"")) || is_level_or_reason(key);
                assert!(known, "{}: the key `{key}` in {line}", page.display());
            }
        }
    }
    assert!(quoted > 0);
}

fn is_level_or_reason(key: &str) -> bool {
    ["error", "warn", "info", "debug", "trace"].contains(&key)
        || ["queue_full", "disk_full", "io_error", "panicked", "shutdown"].contains(&key)
}

#[test]
fn prose_is_wrapped_and_the_readme_is_short() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let mut in_code = false;
        for (number, line) in text.lines().enumerate() {
            in_code ^= line.starts_with("```");
            let may_be_long = in_code || line.starts_with(['|', '!']);
            assert!(
                may_be_long || line.chars().count() <= WIDTH,
                "{}:{}: more than {WIDTH} columns",
                page.display(),
                number + 1
            );
        }
    }
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.split_whitespace().count() <= 1200, "README.md has more than 1200 words");
}

#[test]
fn comments_are_wrapped() {
    for path in ["src", "macros", "tests", "benches", "examples"].iter().flat_map(|dir| files(&root().join(dir), "rs"))
    {
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let Some(text) = line.trim_start().strip_prefix("//") else { continue };
            // Tables, lines of an example that are not shown, and links may be longer.
            let may_be_long =
                text.trim_start_matches(['/', '!', ' ']).starts_with(['|', '#', '[']) || line.contains("://");
            let len = line.chars().count();
            assert!(may_be_long || len <= WIDTH, "{}:{}: {len} columns", path.display(), number + 1);
        }
    }
}

/// Words that make a question of a first line, which is to say what a function does or returns.
const QUESTIONS: [&str; 6] = ["How", "What", "When", "Whether", "Which", "Why"];

#[test]
fn no_documentation_of_a_function_begins_as_a_question() {
    let mut found = Vec::new();
    let in_tests = root().join("src/tests");
    let paths = ["src", "macros/src"].iter().flat_map(|dir| files(&root().join(dir), "rs"));
    for path in paths.filter(|path| !path.starts_with(&in_tests)) {
        let text = fs::read_to_string(&path).unwrap();
        let mut first = None;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start();
            if let Some(documentation) = line.strip_prefix("///") {
                first.get_or_insert((number + 1, documentation.split_whitespace().next().unwrap_or("")));
            } else if !line.starts_with("#[") {
                let is_function = line.split(' ').any(|word| word == "fn");
                if let Some((number, word)) = first.take().filter(|(_, word)| is_function && QUESTIONS.contains(word)) {
                    found.push(format!("{}:{number}: {word}", path.display()));
                }
            }
        }
    }
    assert!(found.is_empty(), "begin with a verb (`Returns whether`):\n{}", found.join("\n"));
}

/// Words that the glossary of ARCHITECTURE.md replaces, and what stands in their place.
const WORDS: &[(&str, &str)] = &[
    ("allowance", "headroom"),
    ("anew", "again"),
    ("behind", "after"),
    ("beside", "next to"),
    ("but for", "except"),
    ("comfort", "headroom"),
    ("door", "per process"),
    ("episode", "suspension"),
    ("fates", "records"),
    ("lacks", "is missing"),
    ("put aside", "rotated"),
    ("storm", "flood, or rate limit"),
    ("storms", "rate limit"),
    ("untold", "unreported"),
    ("vanish", "dropped"),
    ("vanished", "deleted, or dropped"),
];

/// The same in what is not a test or a benchmark: those may use these words.
const WORDS_OUTSIDE_TESTS: &[(&str, &str)] = &[
    ("kept", "retained, reserved, preallocated, stored"),
    ("tell", "report, or raise an event"),
    ("telling", "reporting, or raising an event"),
    ("tells", "reports, or raises an event"),
    ("told", "reported, or an event"),
];

/// The same for names in the library, which are ordinary words in prose.
const NAMES: &[(&str, &str)] = &[("Place", "Location, or PathState"), ("is_ours_alone", "holds_lock")];

/// What these words mean in an idiom is something else.
const IDIOMS: &[&str] = &["fell behind", "leave behind", "leaves behind", "left behind"];

#[test]
fn the_glossary_has_one_word_for_each_thing() {
    let mut texts = pages();
    texts.extend(["CHANGELOG.md", "tests/README.md", "benches/README.md"].map(|name| root().join(name)));
    texts.extend(
        ["src", "macros", "tests", "benches", "examples"].iter().flat_map(|dir| files(&root().join(dir), "rs")),
    );
    let this = root().join(file!());
    let mut found = Vec::new();
    for path in texts.into_iter().filter(|path| *path != this) {
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            // The words of an identifier are words, too.
            let is_word = |character: char| character.is_alphanumeric();
            let words: Vec<String> = line.split(|character| !is_word(character)).map(str::to_lowercase).collect();
            let text = IDIOMS.iter().fold(format!(" {} ", words.join(" ")), |text, idiom| text.replace(idiom, ""));
            let place = path.strip_prefix(root()).unwrap();
            let is_test = ["tests", "src/tests", "benches"].iter().any(|dir| place.starts_with(dir));
            let more = if is_test { &[] } else { WORDS_OUTSIDE_TESTS };
            for (wrong, right) in WORDS.iter().chain(more).filter(|(wrong, _)| text.contains(&format!(" {wrong} "))) {
                let place = place.display();
                found.push(format!("{place}:{}: `{wrong}`, write `{right}`", number + 1));
            }
            let is_name = |name: &str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name);
            for (wrong, right) in NAMES.iter().filter(|(wrong, _)| !is_test && is_name(wrong)) {
                found.push(format!("{}:{}: `{wrong}`, write `{right}`", place.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_relative_link_leads_to_a_file() {
    for page in ["README.md", "CONTRIBUTING.md", "SECURITY.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap()) {
            let is_elsewhere = link.starts_with("http") || link.is_empty();
            assert!(is_elsewhere || root().join(link).exists(), "{page}: {link}");
        }
    }
}

/// What a page of the documentation shows at an ordinary width without being scrolled.
const EXAMPLE_WIDTH: usize = 93;

#[test]
fn no_example_is_cut_off() {
    for path in files(&root().join("src"), "rs") {
        let text = fs::read_to_string(&path).unwrap();
        let mut in_code = false;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start();
            let Some(doc) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else { continue };
            let doc = doc.strip_prefix(' ').unwrap_or(doc);
            in_code ^= doc.starts_with("```");
            let is_seen = in_code && !doc.starts_with("# ");
            assert!(!is_seen || doc.chars().count() <= EXAMPLE_WIDTH, "{}:{}", path.display(), number + 1);
        }
    }
}

#[test]
fn no_example_of_a_page_is_cut_off() {
    for path in files(&root().join("src/_docs"), "md") {
        let text = fs::read_to_string(&path).unwrap();
        // Samples of lines are as long as they are.
        let mut language = None;
        for (number, line) in text.lines().enumerate() {
            if let Some(rest) = line.strip_prefix("```") {
                language = language.is_none().then_some(rest);
            }
            let in_example = language.is_some_and(|language| !["text", "json"].contains(&language));
            assert!(!in_example || line.chars().count() <= EXAMPLE_WIDTH, "{}:{}", path.display(), number + 1);
        }
    }
}

/// A forge shows a page as it is, with what rustdoc hides.
#[test]
fn an_example_of_a_page_hides_one_line_at_most() {
    for path in pages() {
        let text = fs::read_to_string(&path).unwrap();
        // Every second block is outside of the fences.
        for example in text.split("\n```").skip(1).step_by(2) {
            let language = example.lines().next().unwrap();
            let is_rust = ["", "no_run", "rust,no_run", "ignore"].contains(&language);
            let hidden = example.lines().filter(|line| line.starts_with("# ") || *line == "#").count();
            assert!(!is_rust || hidden <= 1, "{}: {hidden} hidden lines in:{example}", path.display());
        }
    }
}

#[test]
fn every_file_that_the_architecture_names_is_there() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut named = 0;
    for word in text.split('`').skip(1).step_by(2) {
        if word.starts_with("src/") || (word.starts_with("tests/") && !word.contains(' ')) {
            named += 1;
            assert!(root().join(word).exists(), "ARCHITECTURE.md: `{word}`");
        }
    }
    assert!(named > 0);
}

/// What no code can give, and what others might take for a fault: each has been asked for.
#[test]
fn what_surprises_is_said_where_a_user_looks() {
    let said = [
        ("README.md", "SIGTERM and SIGINT end a program at once"),
        ("README.md", "allocates nothing for a message that fits its slot; a thread's first call may do both"),
        ("ARCHITECTURE.md", "retained lines after it: there a WARN may follow a later ERROR"),
        ("src/_docs/full_disk.md", "the lines around a gap line are not in the order of the calls"),
        ("src/_docs/full_disk.md", "records of all levels are still written into these additional blocks"),
        ("src/_docs/formats.md", "`log` hands it on as an `f64`"),
        ("src/_docs/shutdown.md", "| SIGTERM, SIGINT or SIGHUP that the program does not handle | what the writer had"),
        ("src/_docs/shutdown.md", "| `exec`, which replaces the program | what the writer had already written; flush"),
        ("src/_docs/shutdown.md", "A log call is not async-signal-safe."),
        (
            "src/_docs/shutdown.md",
            "under `Overflow::DropOldest` a handler that interrupts a log call on a full queue can",
        ),
        ("src/_docs/shutdown.md", "Before `dlclose` of a library that logs through the program's logger, end its"),
        ("src/_docs/shutdown.md", "by the system call `clone`, past the C library, does not run the hooks of `fork`"),
        ("src/sink/mod.rs", "inside the code of a sink or of a format goes to the other outputs only"),
        ("src/_docs/outputs.md", "# Slow readers"),
    ];
    for (page, words) in said {
        let text = fs::read_to_string(root().join(page)).unwrap().replace("\n/// ", "\n");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(words), "{page} does not say: {words}");
    }
}
