//! The names that key-values get in a line, so that no line has one name twice. Runs on the
//! writer's thread.
//!
//! A key that is one of the format's own names, or the name of a constant field, gets the prefix
//! `kv.`; so does one that already has that prefix before such a name, and two keys never become
//! one. Of a key that is given twice the last value counts, as it does for most readers.
//!
//! Where a format does not take every character, other keys may become the same name. The key that
//! has this name unchanged keeps it, the others are numbered: `user_id`, `user_id_2`.

use std::collections::{HashMap, HashSet};

use arrayvec::ArrayVec;

use crate::record::{Fields, KeyValues, Value};

const PREFIX: &str = "kv.";
/// Up to this many pairs are compared with each other; of more the last places are looked up.
const FEW: usize = 16;

/// What a format does with the names of key-values.
pub(super) struct Names {
    /// The names that are taken, as `letter` leaves them.
    taken: Vec<String>,
    /// The names that only a structured value may have.
    objects: &'static [&'static str],
    /// What becomes of each character of a key: not every format takes every one.
    letter: fn(char) -> char,
}

impl Names {
    pub(super) fn new(own: &[&str], letter: fn(char) -> char) -> Self {
        let taken = own.iter().map(|name| name.chars().map(letter).collect()).collect();
        Self { taken, objects: &[], letter }
    }

    /// Keeps names for structured values.
    #[cfg(feature = "json")]
    pub(super) fn objects(mut self, names: &'static [&'static str]) -> Self {
        self.objects = names;
        self
    }

    /// Takes the names of constant fields, too.
    pub(super) fn take(&mut self, fields: &Fields) {
        self.taken.extend(fields.pairs().map(|(key, _)| self.mapped(key)).collect::<Vec<_>>());
    }

    /// Returns whether a key-value might get this name, or the format has it for itself.
    pub(super) fn is_reserved(&self, key: &str) -> bool {
        let name = self.mapped(key);
        name.starts_with(&self.mapped(PREFIX)) || self.is_taken(&name)
    }

    /// Calls `write` with the name and the value of each key, in order. Of a key that is there
    /// twice, only the last value is written.
    #[inline]
    pub(super) fn each<'a, E>(
        &self,
        pairs: KeyValues<'a>,
        mut write: impl FnMut(&str, Value<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut few = ArrayVec::<(&str, Value<'_>), FEW>::new();
        for pair in pairs.clone() {
            if self.is_changed(pair.0, pair.1) || few.try_push(pair).is_err() {
                return self.each_of_any(pairs, &mut write);
            }
        }
        for (place, (key, value)) in few.iter().enumerate() {
            if !few[place + 1..].iter().any(|(later, _)| later == key) {
                write(key, *value)?;
            }
        }
        Ok(())
    }

    /// Does what `each` does, for keys that are changed, or for many. Takes a `dyn` closure, so
    /// that its 4 KiB of code exist once; it is called rarely.
    #[cold]
    fn each_of_any<'a, E>(
        &self,
        pairs: KeyValues<'a>,
        write: &mut dyn FnMut(&str, Value<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        let last: HashMap<&str, usize> = pairs.clone().enumerate().map(|(place, (key, _))| (key, place)).collect();
        let wanted = |place, key: &str| last.get(key) == Some(&place);
        let pairs = pairs.enumerate().filter(|(place, (key, _))| wanted(*place, key)).map(|(_, pair)| pair);
        let unchanged = pairs.clone().filter(|(key, value)| !self.is_changed(key, *value));
        let mut used: HashSet<String> = unchanged.map(|(key, _)| key.to_owned()).collect();
        let mut numbers: HashMap<String, u32> = HashMap::new();
        for (key, value) in pairs {
            if !self.is_changed(key, value) {
                write(key, value)?;
                continue;
            }
            let plain = self.prefix(key, value).to_owned() + &self.mapped(key);
            let number = numbers.entry(plain.clone()).or_insert(1);
            let mut name = plain.clone();
            while used.contains(&name) || (*number > 1 && self.is_taken(&name)) {
                *number += 1;
                name = format!("{plain}_{number}");
            }
            write(&name, value)?;
            used.insert(name);
        }
        Ok(())
    }

    /// Returns whether the name in the line is another than the key.
    fn is_changed(&self, key: &str, value: Value<'_>) -> bool {
        key.is_empty()
            || key.chars().any(|character| (self.letter)(character) != character)
            || !self.prefix(key, value).is_empty()
    }

    /// Returns the text before a key: nothing, or the prefix.
    fn prefix(&self, key: &str, value: Value<'_>) -> &'static str {
        let name = key.trim_start_matches(PREFIX);
        let fits = name.len() == key.len() && matches!(value, Value::Json(json) if json.starts_with('{'));
        let is_taken = self.taken.iter().any(|taken| self.is_named(name, taken));
        if is_taken || (!fits && self.objects.contains(&name)) { PREFIX } else { "" }
    }

    fn is_taken(&self, name: &str) -> bool {
        self.taken.iter().any(|taken| taken == name)
    }

    /// Returns whether the key becomes this name.
    fn is_named(&self, key: &str, name: &str) -> bool {
        key == name || (key.chars().map(self.letter).eq(name.chars()))
    }

    /// Returns the key as `letter` leaves it; an empty one, which some readers refuse, as `_`.
    fn mapped(&self, key: &str) -> String {
        if key.is_empty() { "_".to_owned() } else { key.chars().map(self.letter).collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    use log::kv;

    use super::*;

    fn names() -> Names {
        Names::new(&["level"], |character| if character == ' ' { '_' } else { character })
    }

    fn written(keys: &[String]) -> Vec<(String, u64)> {
        let mut fields = Fields::default();
        for (number, key) in keys.iter().enumerate() {
            fields.push(key, kv::Value::from(number as u64));
        }
        let mut written = Vec::new();
        let Ok(()) = names().each(fields.pairs(), |name, value| {
            let Value::U64(value) = value else { unreachable!("{value:?}") };
            written.push((name.to_owned(), value));
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
    fn of_a_key_that_is_given_twice_the_last_value_counts_and_other_keys_stay_apart() {
        for others in [0, 5, 40, 200] {
            let mut keys = vec!["a b".to_owned(), "twice".to_owned(), "_".to_owned()];
            keys.extend((0..others).map(|number| format!("other{number}")));
            keys.extend(["a_b".to_owned(), "twice".to_owned(), String::new()]);
            let written = written(&keys);
            assert_eq!(written.len(), others + 5);
            assert_eq!(written.iter().map(|(key, _)| key).collect::<BTreeSet<_>>().len(), others + 5);
            assert_eq!(written[..2], [("a_b_2".to_owned(), 0), ("_".to_owned(), 2)]);
            let last = ["a_b", "twice", "__2"].map(str::to_owned).into_iter().zip(others as u64 + 3..);
            assert_eq!(written[others + 2..], last.collect::<Vec<_>>());
        }
    }

    #[test]
    fn numbers_pass_by_names_that_are_there() {
        let keys = ["a b", "a_b", "a_b_2", "a  b", "a_ b", "a__b_2"].map(str::to_owned);
        let written: Vec<_> = written(&keys).into_iter().map(|(key, _)| key).collect();
        assert_eq!(written, ["a_b_3", "a_b", "a_b_2", "a__b", "a__b_3", "a__b_2"]);
    }

    #[test]
    fn a_thousand_keys_of_one_name_have_a_thousand_names() {
        let keys: Vec<_> = (0..1000).map(|number| format!("{number:b}").replace('0', " ").replace('1', "_")).collect();
        let written = written(&keys);
        assert_eq!(written.iter().map(|(key, _)| key).collect::<BTreeSet<_>>().len(), 1000);
    }
}
