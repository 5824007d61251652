//! Escapes text that could mislead its reader; plain text is copied as it is. Runs on the writer's
//! thread.
//!
//! Control characters (C0, DEL, C1) drive terminals and end lines; U+2028 and U+2029 end lines for
//! some readers (Python's `splitlines`, Node's `readline`); the bidirectional embeddings, overrides
//! and isolates show a line in another order than it has ("Trojan Source", CVE-2021-42574).

use std::io::Write as _;

use crate::record::text_of;

/// The start of each further line of a message of several lines.
pub(super) const INDENT: &[u8] = b"    ";

/// How a character that misleads is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Controls {
    /// As in Rust: `\n`, `\t`, `\u{1b}`.
    Rust,
    /// As in Rust, but after a newline the text goes on, indented, on a line of its own.
    Indented,
    /// As in JSON: `\n`, `\t`, `\u001b`.
    Json,
}

/// A text, or its bytes: most texts are plain, and then nobody needs to know more of them.
pub(super) trait Text {
    fn bytes(&self) -> &[u8];
    fn text(&self) -> &str;
}

impl Text for str {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    fn text(&self) -> &str {
        self
    }
}

/// The bytes of a record's message, which are a text.
impl Text for [u8] {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn text(&self) -> &str {
        text_of(self)
    }
}

/// Appends `text` without what misleads.
#[inline]
pub(super) fn push_text(out: &mut Vec<u8>, text: &(impl Text + ?Sized), controls: Controls) {
    push_bytes(out, text.bytes(), controls);
}

fn push_bytes(out: &mut Vec<u8>, text: &[u8], controls: Controls) {
    if none(text, may_mislead) {
        out.extend_from_slice(text);
    } else {
        push_escaped(out, text.text(), controls, |_| false);
    }
}

/// Appends `text` as one word: in quotes where a reader could not see where it ends.
pub(super) fn push_word(out: &mut Vec<u8>, text: &(impl Text + ?Sized), controls: Controls) {
    let bytes = text.bytes();
    let is_plain = none(bytes, |byte| may_mislead(byte) | ends_a_word(byte) | (byte == b'\\'));
    let must_be_quoted = || text.text().contains(|c| misleads(c) || matches!(c, ' ' | '=' | '"' | '\\'));
    if !bytes.is_empty() && (is_plain || !must_be_quoted()) {
        out.extend_from_slice(bytes);
        return;
    }
    out.push(b'"');
    if none(bytes, |byte| may_mislead(byte) | (byte == b'"') | (byte == b'\\')) {
        out.extend_from_slice(bytes);
    } else {
        push_escaped(out, text.text(), controls, |character| matches!(character, '"' | '\\'));
    }
    out.push(b'"');
}

/// Appends `key` as one bare word: what would end it, or mislead, becomes `_`.
pub(super) fn push_key(out: &mut Vec<u8>, key: &str) {
    if !key.is_empty() && none(key.as_bytes(), |byte| may_mislead(byte) | ends_a_word(byte) | (byte == 0xef)) {
        out.extend_from_slice(key.as_bytes());
        return;
    }
    if key.is_empty() {
        out.push(b'_');
    }
    for character in key.chars() {
        out.extend_from_slice(key_letter(character).encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// Returns a character as it stands in a key that is one bare word.
pub(super) fn key_letter(character: char) -> char {
    // U+FFFD is what go-logfmt's decoder takes for an encoding that is broken.
    let is_bare = !misleads(character) && !matches!(character, ' ' | '=' | '"' | '\u{fffd}');
    if is_bare { character } else { '_' }
}

/// Returns whether `special` holds for none of the bytes.
///
/// Most texts are short and have nothing special in them, so that the whole is looked at, in blocks
/// that the compiler compares at once.
#[inline]
pub(super) fn none(bytes: &[u8], special: impl Fn(u8) -> bool) -> bool {
    match bytes.len() {
        0..8 => !bytes.iter().any(|&byte| special(byte)),
        8..16 => none_in_blocks::<8>(bytes, special),
        _ => none_in_blocks::<16>(bytes, special),
    }
}

/// The last block overlaps the one before it, instead of leaving a rest to be looked at byte by
/// byte.
#[inline]
fn none_in_blocks<const LEN: usize>(bytes: &[u8], special: impl Fn(u8) -> bool) -> bool {
    let mut rest = bytes;
    while let Some((block, tail)) = rest.split_first_chunk::<LEN>() {
        if block.iter().fold(false, |found, &byte| found | special(byte)) {
            return false;
        }
        if tail.is_empty() {
            return true;
        }
        rest = if tail.len() < LEN { &bytes[bytes.len() - LEN..] } else { tail };
    }
    true
}

/// Returns whether a character could make a reader see another line, or other lines, than there
/// are.
pub(super) fn misleads(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns whether a byte may be the first of such a character.
pub(super) fn may_mislead(byte: u8) -> bool {
    (byte < 0x20) | may_mislead_in_json(byte)
}

/// Returns whether a byte that JSON lets through may begin a misleading character: DEL is one, 0xC2
/// and 0xE2 are the first bytes of all others, and of some that are harmless.
pub(super) fn may_mislead_in_json(byte: u8) -> bool {
    (byte == 0x7f) | (byte == 0xc2) | (byte == 0xe2)
}

fn ends_a_word(byte: u8) -> bool {
    (byte == b' ') | (byte == b'=') | (byte == b'"')
}

/// Appends `text` as a JSON string that is also safe for readers of lines and for terminals.
#[cfg(feature = "json")]
pub(super) fn push_json_str(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    push_escaped(out, text, Controls::Json, |character| matches!(character, '"' | '\\'));
    out.push(b'"');
}

fn push_escaped(out: &mut Vec<u8>, text: &str, controls: Controls, with_backslash: impl Fn(char) -> bool) {
    let mut plain = 0;
    for (at, character) in text.char_indices() {
        if !misleads(character) && !with_backslash(character) {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[plain..at]);
        plain = at + character.len_utf8();
        // Writing to memory does not fail.
        let _ = match (character, controls) {
            ('\n', Controls::Indented) => {
                out.push(b'\n');
                out.write_all(INDENT)
            }
            ('"' | '\\' | '\n' | '\r' | '\t', _) | (_, Controls::Rust | Controls::Indented) => {
                write!(out, "{}", character.escape_default())
            }
            (_, Controls::Json) => write!(out, "\\u{:04x}", u32::from(character)),
        };
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn written(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn no_special_byte_is_overlooked_wherever_it_stands() {
        for len in 0..70 {
            let mut bytes = vec![b'a'; len];
            assert!(none(&bytes, may_mislead), "{len}");
            for at in 0..len {
                bytes[at] = 0x1b;
                assert!(!none(&bytes, may_mislead), "{at} of {len}");
                bytes[at] = b'a';
            }
        }
    }

    #[test]
    fn every_character_that_misleads_is_escaped_and_nothing_else() {
        let bidirectional = ['\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}']
            .into_iter()
            .chain(['\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}']);
        let escaped: BTreeSet<char> = (char::MIN..=char::MAX)
            .filter(|character| character.is_control())
            .chain(['\u{2028}', '\u{2029}'])
            .chain(bidirectional)
            .collect();
        assert_eq!(escaped.len(), 32 + 1 + 32 + 2 + 9);
        for character in '\0'..='\u{3000}' {
            let text = format!("some text around {character} it");
            for controls in [Controls::Rust, Controls::Json] {
                let written = written(|out| push_text(out, &*text, controls));
                assert_eq!(written == text, !escaped.contains(&character), "{character:?}");
                assert!(!written.contains(|character| escaped.contains(&character)), "{character:?}");
            }
        }
    }

    #[test]
    fn a_word_is_quoted_only_where_it_must_be() {
        let cases = [
            ("", r#""""#),
            ("plain/word-é:1", "plain/word-é:1"),
            ("21.5°-5€", "21.5°-5€"),
            ("a\u{202e}b", r#""a\u202eb""#),
            ("two words", r#""two words""#),
            ("a=b", r#""a=b""#),
            (r#"say "hi""#, r#""say \"hi\"""#),
            (r"C:\x", r#""C:\\x""#),
            ("\u{1b}\u{9b}", r#""\u001b\u009b""#),
            ("a\n\tb", r#""a\n\tb""#),
        ];
        for (text, word) in cases {
            assert_eq!(written(|out| push_word(out, text, Controls::Json)), word);
        }
        assert_eq!(written(|out| push_word(out, "\u{1b}", Controls::Rust)), r#""\u{1b}""#);
    }

    #[test]
    fn a_key_is_always_one_bare_word() {
        for (key, word) in [
            ("", "_"),
            ("plain", "plain"),
            ("a b=\"c\"\n\u{9b}é", "a_b__c___é"),
            ("\u{2028}\u{fffd}\u{feff}", "__\u{feff}"),
        ] {
            assert_eq!(written(|out| push_key(out, key)), word);
        }
    }
}
