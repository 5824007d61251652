//! The list of awkward records.

use log::Level;

use super::logged::{Failure, Given, Logged};

/// Each with what is awkward about it.
pub(super) fn records() -> Vec<(&'static str, Logged)> {
    let text = |text: &str| Given::Str(text.to_owned());
    vec![
        ("an ordinary one", Logged::message("user 7 logged in").pair("user", text("anna")).pair("ms", Given::F64(1.5))),
        ("empty", Logged::message("")),
        ("only spaces", Logged::message("   ")),
        ("64 KiB", Logged::message(&"x".repeat(64 * 1024))),
        ("one byte more than 64 KiB", Logged::message(&"x".repeat(64 * 1024 + 1))),
        ("quotes and backslashes", Logged::message(r#"say "hi" to C:\temp\new, \"twice\" \\"#)),
        (
            "control characters",
            Logged::message("nul \0 bell \u{7} esc \u{1b}[31mred\u{1b}[0m del \u{7f} c1 \u{9b}2J nel \u{85}"),
        ),
        ("ends of lines", Logged::message("one\ntwo\r\nthree\rfour\n")),
        ("a line that is not its own", Logged::message("ok\n2026-11-21T09:30:00.123456Z ERROR app: forged")),
        (
            "invalid-looking UTF-8",
            Logged::message("\u{fffd} \u{fffe}\u{ffff} \u{10ffff} \u{feff} ï¿½ \u{2028}\u{2029}"),
        ),
        ("emoji and marks", Logged::message("👩‍👩‍👧 🇩🇪 e\u{301} 5€ – 21°")),
        ("written from right to left", Logged::message("user=\u{202e}nimda\u{202c} \u{2066}שלום\u{2069} \u{200f}שלום")),
        ("JSON in it", Logged::message(r#""},{"level":"ERROR","message":"#)),
        ("logfmt in it", Logged::message("done level=error msg=forged")),
        ("nothing to go by", Logged { target: String::new(), place: None, thread: (7, None), ..Logged::message("m") }),
        (
            "of the crate itself",
            Logged {
                level: Level::Warn,
                target: "unfazed".into(),
                place: None,
                thread: (0, None),
                ..Logged::message("lost")
            },
        ),
        (
            "an odd origin",
            Logged {
                level: Level::Trace,
                target: "a b\n\"c\"=".into(),
                place: Some(("C:\\src dir\\\"x\".rs", 1)),
                thread: (2, Some("pool [1] \u{1b}")),
                ..Logged::message("m")
            },
        ),
        (
            "numbers",
            Logged { level: Level::Error, ..Logged::message("n") }
                .pair("i64", Given::I64(i64::MIN))
                .pair("u64", Given::U64(u64::MAX))
                .pair("i128", Given::I128(i128::MIN))
                .pair("u128", Given::U128(u128::MAX))
                .pair("small", Given::U128(5))
                .pair("tenth", Given::F64(0.1))
                .pair("whole", Given::F64(1.0))
                .pair("zero", Given::F64(-0.0))
                .pair("huge", Given::F64(f64::MAX))
                .pair("tiny", Given::F64(f64::MIN_POSITIVE))
                .pair("nan", Given::F64(f64::NAN))
                .pair("inf", Given::F64(f64::INFINITY))
                .pair("neg", Given::F64(f64::NEG_INFINITY)),
        ),
        (
            "other values",
            Logged { level: Level::Debug, ..Logged::message("v") }
                .pair("yes", Given::Bool(true))
                .pair("no", Given::Bool(false))
                .pair("none", Given::Null)
                .pair("empty", text(""))
                .pair("text", text("a=\"b\" c\\d\ne\u{1b}"))
                .pair("number", text("1"))
                .pair("debug", Given::Debug(vec![Some('"'), None])),
        ),
        (
            "keys",
            Logged::message("k")
                .pair("with space", Given::I64(1))
                .pair("", Given::I64(2))
                .pair("a=\"b\"\n", Given::I64(3))
                .pair("dotted.key", Given::I64(4))
                .pair("größe 😀", Given::I64(5))
                .pair("logging.googleapis.com/trace", text("projects/p/traces/t")),
        ),
        (
            "keys that are taken",
            [
                "timestamp",
                "time",
                "ts",
                "level",
                "severity",
                "target",
                "message",
                "msg",
                "kv.message",
                "id",
                "host",
                "file",
                "thread.name",
            ]
            .iter()
            .fold(Logged::message("t"), |logged, key| logged.pair(key, text("mine"))),
        ),
        (
            "keys that become one name",
            Logged::message("o")
                .pair("größe", Given::I64(1))
                .pair("grüße", Given::I64(2))
                .pair("user id", Given::I64(3))
                .pair("user_id", Given::I64(4))
                .pair("user.id", Given::I64(5))
                .pair("c\u{1}", Given::I64(6))
                .pair("c\u{2}", Given::I64(7))
                .pair("c\u{9b}", Given::I64(8)),
        ),
        (
            "errors with their sources",
            Logged { level: Level::Error, ..Logged::message("checkout failed") }
                .pair("alone", Given::Error(Failure::new("timed out", &[])))
                .pair("err", Given::Error(Failure::new("no \"answer\"", &["refused\n".into(), "os error 111".into()]))),
        ),
        (
            "a trace",
            Logged::message("t")
                .pair("trace_id", text("4bf92f3577b34da6a3ce929d0e0e4736"))
                .pair("span_id", text("00f067aa0ba902b7"))
                .pair("trace_flags", text("01"))
                .pair("httpRequest", text("GET /")),
        ),
        (
            "no trace",
            Logged::message("n")
                .pair("trace_id", text("00000000000000000000000000000000"))
                .pair("span_id", Given::I64(7))
                .pair("trace_flags", text("sampled")),
        ),
        (
            "keys that are given twice",
            Logged::message("d")
                .pair("a", Given::I64(1))
                .pair("a b", Given::I64(2))
                .pair("a", Given::I64(3))
                .pair("a_b", Given::I64(4)),
        ),
    ]
}

/// One whose values are made of others.
#[cfg(feature = "kv_serde")]
pub(super) fn structured() -> Logged {
    Logged::message("s")
        .pair("user", Given::Structured(serde_json::json!({ "id": 7, "tags": ["a b", "\u{9b}", null, 1.5, true] })))
        .pair("ids", Given::Structured(serde_json::json!([9007199254740993_u64, -1, {}])))
        .pair("httpRequest", Given::Structured(serde_json::json!({ "requestMethod": "GET", "status": 200 })))
}
