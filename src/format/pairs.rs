//! Key-values as words: ` key=value`. Runs on the writer's thread.

use std::io::Write as _;

use crate::record::{KeyValues, Value};

use super::escape::{Controls, push_key, push_text, push_word};

/// Appends the key-values as ` key=value`, the value quoted where a reader could not see where it
/// ends.
#[inline]
pub(super) fn push_pairs(out: &mut Vec<u8>, pairs: KeyValues<'_>, controls: Controls) {
    if !pairs.is_empty() {
        push_each(out, pairs, controls);
    }
}

fn push_each(out: &mut Vec<u8>, pairs: KeyValues<'_>, controls: Controls) {
    for (key, value) in pairs {
        out.push(b' ');
        push_key(out, key);
        out.push(b'=');
        push_value(out, value, controls);
    }
}

pub(super) fn push_value(out: &mut Vec<u8>, value: Value<'_>, controls: Controls) {
    match value {
        Value::Str(text) => push_word(out, text, controls),
        Value::Error(chain) => push_word(out, &*chain.to_string(), controls),
        // Bare: a reader sees where it ends, and no text stands bare with a quote in it.
        Value::Json(json) => push_text(out, json, Controls::Json),
        // Writing to memory does not fail; none of these has a space, a quote or an equals sign.
        // `Debug` spares the 300 zeros of 1e300.
        Value::F64(float) => drop(write!(out, "{float:?}")),
        other => drop(write!(out, "{other}")),
    }
}
