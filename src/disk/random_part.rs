//! The random part of a file's name, such as `.0123abcd`: nobody can predict it, so nobody can take
//! the name first. Pure, any thread.

/// The length of a random part: a dot and eight hexadecimal digits.
pub(crate) const RANDOM_LEN: usize = 9;

/// Returns the random part that shows this number.
pub(crate) fn random_part(random: u32) -> String {
    format!(".{random:08x}")
}

/// Returns whether a part of a name looks like a random one.
pub(crate) fn is_random_part(part: &[u8]) -> bool {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    part.len() == RANDOM_LEN && part.strip_prefix(b".").is_some_and(|digits| digits.iter().all(is_digit))
}
