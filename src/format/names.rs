//! The names that key-values get in a line, so that no line has one name twice. Runs on the
//! writer's thread.
//!
//! An empty key becomes `_`, since some readers refuse it. A key that is one of the format's own
//! names, or the name of a constant field, gets the prefix `kv.`; so does one that already has that
//! prefix before such a name, and two keys never become one. Of a key that is given twice the last
//! value counts, as it does for most readers.

use std::collections::HashMap;

use crate::record::{KeyValues, Value};

use super::Fields;

const PREFIX: &str = "kv.";
/// Up to this many pairs are compared with each other; of more the last places are looked up.
const FEW: usize = 16;

/// What a format does with the names of key-values.
pub(super) struct Names {
    /// The names that are taken, as `letter` leaves them.
    taken: Vec<Vec<u8>>,
    /// What becomes of each byte of a key: not every format takes every character.
    letter: fn(u8) -> u8,
}

impl Names {
    pub(super) fn new(own: &[&str], letter: fn(u8) -> u8) -> Self {
        let taken = own.iter().map(|name| name.bytes().map(letter).collect()).collect();
        Self { taken, letter }
    }

    /// Takes the names of constant fields, too.
    pub(super) fn take(&mut self, fields: &Fields) {
        self.taken.extend(fields.pairs().map(|(key, _)| key.bytes().map(self.letter).collect::<Vec<u8>>()));
    }

    /// Whether a constant field of this name would meet one of the format's own.
    pub(super) fn is_taken(&self, key: &str) -> bool {
        self.taken.iter().any(|taken| self.is_same(key.as_bytes(), taken))
    }

    /// The same for a name that a key-value might get.
    pub(super) fn is_reserved(&self, key: &str) -> bool {
        let is_prefixed = key.len() >= PREFIX.len()
            && key.bytes().zip(PREFIX.bytes()).all(|(one, other)| (self.letter)(one) == (self.letter)(other));
        is_prefixed || self.is_taken(key)
    }

    /// What stands before a key: nothing, or the prefix.
    pub(super) fn prefix(&self, key: &str) -> &'static str {
        if self.is_taken(key.trim_start_matches(PREFIX)) { PREFIX } else { "" }
    }

    /// Calls `write` with each key and its value, in order, but only with the last of those that
    /// have the same name.
    pub(super) fn each_once<'a, E>(
        &self,
        pairs: KeyValues<'a>,
        mut write: impl FnMut(&'a str, Value<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        let name = |key: &[u8]| not_empty(key).iter().map(|&byte| (self.letter)(byte)).collect::<Vec<u8>>();
        let mut places = HashMap::new();
        if pairs.keys().nth(FEW).is_some() {
            places.extend(pairs.keys().enumerate().map(|(place, key)| (name(key), place)));
        }
        let mut rest = pairs;
        let mut place = 0;
        while let Some((key, value)) = rest.next() {
            let is_last = match places.is_empty() {
                true => !rest.keys().any(|later| self.is_same(key.as_bytes(), later)),
                false => places.get(&name(key.as_bytes())) == Some(&place),
            };
            if is_last {
                write(if key.is_empty() { "_" } else { key }, value)?;
            }
            place += 1;
        }
        Ok(())
    }

    fn is_same(&self, one: &[u8], other: &[u8]) -> bool {
        let (one, other) = (not_empty(one), not_empty(other));
        one.len() == other.len()
            && one.iter().zip(other).all(|(&one, &other)| (self.letter)(one) == (self.letter)(other))
    }
}

fn not_empty(key: &[u8]) -> &[u8] {
    if key.is_empty() { b"_" } else { key }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    use log::kv;

    use super::*;

    fn names() -> Names {
        Names::new(&["level"], |byte| if byte == b' ' { b'_' } else { byte })
    }

    fn written(keys: &[String]) -> Vec<(String, u64)> {
        let mut fields = Fields::default();
        for (number, key) in keys.iter().enumerate() {
            fields.push(key, kv::Value::from(number as u64));
        }
        let mut written = Vec::new();
        let Ok(()) = names().each_once(fields.pairs(), |key, value| {
            let Value::U64(value) = value else { unreachable!("{value:?}") };
            written.push((format!("{}{key}", names().prefix(key)), value));
            Ok::<_, Infallible>(())
        });
        written
    }

    #[test]
    fn a_key_that_is_taken_gets_a_prefix_and_never_meets_another_key() {
        let keys = ["level", "kv.level", "kv.kv.level", "kv.other", "other"].map(str::to_owned);
        let written: Vec<_> = written(&keys).into_iter().map(|(key, _)| key).collect();
        assert_eq!(written, ["kv.level", "kv.kv.level", "kv.kv.kv.level", "kv.other", "other"]);
    }

    #[test]
    fn of_keys_that_get_one_name_the_last_counts_however_many_there_are() {
        for others in [0, 5, 40, 200] {
            let mut keys = vec!["a b".to_owned(), "twice".to_owned(), "_".to_owned()];
            keys.extend((0..others).map(|number| format!("other{number}")));
            keys.extend(["a_b".to_owned(), "twice".to_owned(), String::new()]);
            let written = written(&keys);
            assert_eq!(written.len(), others + 3);
            assert_eq!(written.iter().map(|(key, _)| key).collect::<BTreeSet<_>>().len(), others + 3);
            let last = ["a_b", "twice", "_"].map(str::to_owned).into_iter().zip(others as u64 + 3..);
            assert_eq!(written[others..], last.collect::<Vec<_>>());
        }
    }
}
