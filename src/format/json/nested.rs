//! A structured value inside a line: the compact JSON that serde_json has made of it, read token by
//! token. Runs on the writer's thread.

use std::io;

use super::{is_safe, push, push_integer_value};
use crate::format::escape::{Controls, push_text};

/// What is nested deeper is written as a text, because readers have a limit, too.
const DEEPEST: usize = 32;

/// Appends the JSON as it is, apart from characters that mislead: it has those only in strings,
/// where they can be escaped. With `safe`, integers that a double cannot hold become strings.
pub(super) fn push_json(out: &mut Vec<u8>, json: &str, safe: bool) {
    if !safe {
        push_text(out, json, Controls::Json);
        return;
    }
    for token in Tokens(json) {
        let has_quotes = is_integer(token) && !token.parse().is_ok_and(is_safe);
        push(out, if has_quotes { "\"" } else { "" });
        push_text(out, token, Controls::Json);
        push(out, if has_quotes { "\"" } else { "" });
    }
}

/// Appends the content of an `AnyValue` of OTLP/JSON.
pub(super) fn push_any_value(out: &mut Vec<u8>, json: &str) -> io::Result<()> {
    // An empty list of two bytes becomes one of 28, the byte of an escaped character six.
    out.try_reserve(json.len() * 16)?;
    AnyValue { out, tokens: Tokens(json) }.value(0)
}

struct AnyValue<'a, 'b> {
    out: &'b mut Vec<u8>,
    tokens: Tokens<'a>,
}

impl AnyValue<'_, '_> {
    fn value(&mut self, depth: usize) -> io::Result<()> {
        let before = self.tokens.0;
        match self.tokens.next().unwrap_or("null") {
            "null" => {}
            token @ ("true" | "false") => {
                push(self.out, "\"boolValue\":");
                push(self.out, token);
            }
            "{" | "[" if depth == DEEPEST => {
                let nested = &before[..before.len() - self.tokens.skip_nested().len()];
                push(self.out, "\"stringValue\":");
                super::push_str(self.out, nested)?;
            }
            "[" => {
                push(self.out, "\"arrayValue\":{\"values\":[");
                self.elements("]", |all| all.value(depth + 1))?;
            }
            "{" => {
                push(self.out, "\"kvlistValue\":{\"values\":[");
                self.elements("}", |all| {
                    push(all.out, "\"key\":");
                    let key = all.tokens.next().unwrap_or("\"\"");
                    push_text(all.out, key, Controls::Json);
                    push(all.out, ",\"value\":{");
                    all.tokens.next(); // the colon
                    all.value(depth + 1)?;
                    push(all.out, "}");
                    Ok(())
                })?;
            }
            token if token.starts_with('"') => {
                push(self.out, "\"stringValue\":");
                push_text(self.out, token, Controls::Json);
            }
            token if is_integer(token) => push_integer_value(self.out, token),
            token => {
                push(self.out, "\"doubleValue\":");
                push(self.out, token);
            }
        }
        Ok(())
    }

    /// The elements of a list or an object up to its end, each in braces of its own.
    fn elements(&mut self, end: &str, mut one: impl FnMut(&mut Self) -> io::Result<()>) -> io::Result<()> {
        let mut before = "{";
        while !self.tokens.0.is_empty() {
            if self.tokens.0.starts_with(end) {
                self.tokens.next();
                break;
            }
            if self.tokens.0.starts_with(',') {
                self.tokens.next();
            }
            push(self.out, before);
            one(self)?;
            push(self.out, "}");
            before = ",{";
        }
        push(self.out, "]}");
        Ok(())
    }
}

fn is_integer(token: &str) -> bool {
    let digits = token.strip_prefix('-').unwrap_or(token);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Gives brackets, commas, colons, strings in their quotes, numbers and words.
struct Tokens<'a>(&'a str);

impl<'a> Tokens<'a> {
    /// Passes over a list or an object whose bracket has been read. Returns what follows it.
    fn skip_nested(&mut self) -> &'a str {
        let mut depth = 1;
        while depth > 0 {
            match self.next() {
                Some("{" | "[") => depth += 1,
                Some("}" | "]") => depth -= 1,
                Some(_) => {}
                None => break,
            }
        }
        self.0
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let bytes = self.0.as_bytes();
        let end = match bytes.first()? {
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            b'"' => {
                let mut escaped = false;
                let end = bytes[1..].iter().position(|byte| {
                    let ends = *byte == b'"' && !escaped;
                    escaped = *byte == b'\\' && !escaped;
                    ends
                });
                end.map_or(bytes.len(), |end| end + 2)
            }
            _ => bytes.iter().position(|byte| b"{}[],:\"".contains(byte)).unwrap_or(bytes.len()),
        };
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any_value(json: &str) -> String {
        let mut out = Vec::new();
        push_any_value(&mut out, json).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nested_values_say_which_type_they_have() {
        let json = r#"{"a":[1,-2.5e3,true,null,"x\"]\\"],"b":{},"c":18446744073709551615}"#;
        let expected = concat!(
            r#""kvlistValue":{"values":[{"key":"a","value":{"arrayValue":{"values":[{"intValue":"1"},"#,
            r#"{"doubleValue":-2.5e3},{"boolValue":true},{},{"stringValue":"x\"]\\"}]}}},"#,
            r#"{"key":"b","value":{"kvlistValue":{"values":[]}}},"#,
            r#"{"key":"c","value":{"stringValue":"18446744073709551615"}}]}"#,
        );
        assert_eq!(any_value(json), expected);
    }

    #[test]
    fn what_is_nested_too_deep_is_a_text() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let written = any_value(&deep);
        assert_eq!(written.matches("arrayValue").count(), DEEPEST);
        assert!(written.contains(&format!("\"stringValue\":\"{}\"", &deep[DEEPEST..deep.len() - DEEPEST])));
        serde_json::from_str::<serde_json::Value>(&format!("{{{written}}}")).unwrap();
    }

    #[test]
    fn an_integer_that_a_double_cannot_hold_is_a_string_and_only_there() {
        let json = r#"{"9007199254740993":9007199254740993,"a":[9007199254740992,-9007199254740993,1e300,"9007199254740993"]}"#;
        let mut out = Vec::new();
        push_json(&mut out, json, true);
        let expected = r#"{"9007199254740993":"9007199254740993","a":[9007199254740992,"-9007199254740993",1e300,"9007199254740993"]}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let mut out = Vec::new();
        push_json(&mut out, json, false);
        assert_eq!(String::from_utf8(out).unwrap(), json);
    }
}
