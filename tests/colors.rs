//! Which output has colours: a process of its own logs to a real terminal, to a pipe and to a file.
#![cfg(target_os = "linux")]
#![allow(clippy::incompatible_msrv)] // only the library keeps to the oldest compiler
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says by panicking what is wrong

mod support;

use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};

use unfazed::{Builder, Color, Console, Format};

use support::terminal::terminal;

/// What the child shall do, and where its file is.
const COLOR: &str = "UNFAZED_TEST_COLOR";
const FILE: &str = "UNFAZED_TEST_FILE";
const COLORED: &str = "\u{1b}[32mINFO\u{1b}[0m  colors: hello";
const PLAIN: &str = " INFO  colors: hello";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stream {
    Terminal,
    Pipe,
}

/// What stood on the child's standard error, and on its standard output, which is a pipe. Its file
/// never has colours.
fn logged_to(stream: Stream, color: &str, environment: &[(&str, &str)]) -> (String, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "the_child_logs"]).env(COLOR, color).env(FILE, &path).stdout(Stdio::piped());
    for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
        child.env_remove(variable);
    }
    child.env("TERM", "xterm").envs(environment.iter().copied());
    let text = match stream {
        Stream::Terminal => {
            let (mut ours, theirs) = terminal();
            let output = child.stderr(theirs).output().unwrap();
            assert!(output.status.success());
            // It still holds the other end.
            drop(child);
            let mut text = Vec::new();
            // Linux ends the output of a terminal that nobody has open any more with EIO.
            let _ = ours.read_to_end(&mut text);
            (text, output.stdout)
        }
        Stream::Pipe => {
            let output = child.stderr(Stdio::piped()).output().unwrap();
            (output.stderr, output.stdout)
        }
    };
    let file = fs::read_to_string(path).unwrap();
    assert!(file.contains(PLAIN) && !file.contains('\u{1b}'), "{file:?}");
    let [text, other] = [text.0, text.1].map(|text| String::from_utf8(text).unwrap().replace("\r\n", "\n"));
    (text, other)
}

#[test]
fn the_child_logs() {
    let Ok(color) = std::env::var(COLOR) else {
        return;
    };
    let color = match color.as_str() {
        "always" => Color::Always,
        "never" => Color::Never,
        _ => Color::Auto,
    };
    let file = std::env::var(FILE).unwrap();
    let consoles = Builder::new().console(Console::stderr().color(color)).console(Console::stdout().color(color));
    consoles.file(file).format(Format::text()).init().unwrap();
    log::info!("hello");
    log::logger().flush();
}

#[test]
fn colours_are_for_terminals_unless_the_environment_or_the_program_says_otherwise() {
    use Stream::{Pipe, Terminal};

    let cases: [(_, _, &[(&str, &str)], _); 12] = [
        (Terminal, "auto", &[], true),
        (Pipe, "auto", &[], false),
        (Terminal, "auto", &[("NO_COLOR", "1")], false),
        (Terminal, "auto", &[("NO_COLOR", "")], true),
        (Terminal, "auto", &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], false),
        (Terminal, "auto", &[("CLICOLOR", "0")], false),
        (Terminal, "auto", &[("TERM", "dumb")], false),
        (Terminal, "auto", &[("TERM", "dumb"), ("CLICOLOR", "1")], true),
        (Pipe, "auto", &[("CLICOLOR", "1")], false),
        (Pipe, "auto", &[("CLICOLOR_FORCE", "1")], true),
        (Terminal, "never", &[("CLICOLOR_FORCE", "1")], false),
        (Pipe, "always", &[("NO_COLOR", "1")], true),
    ];
    for (stream, color, environment, colored) in cases {
        let (text, other) = logged_to(stream, color, environment);
        let expected = if colored { COLORED } else { PLAIN };
        assert!(text.contains(expected), "{stream:?}, {color}, {environment:?}: {text:?}");
        assert_eq!(text.contains('\u{1b}'), colored, "{stream:?}, {color}, {environment:?}: {text:?}");
        // Each stream is judged by itself.
        let colored = colored && (stream, color, environment) != (Terminal, "auto", &[]);
        let colored = colored && !matches!(environment, [("NO_COLOR", "")] | [("TERM", "dumb"), _]);
        assert!(other.contains(if colored { COLORED } else { PLAIN }), "{color}, {environment:?}: {other:?}");
    }
}
