//! The names of archives: what is ours is known again, and nothing else is taken for ours.

use std::ffi::OsString;

use super::Choices;
use crate::sink::file::archive_name::{Archive, Names};

pub(super) fn hold(choices: &mut Choices<'_>) {
    let (Some(active), Some(other)) = (file_name(choices.bytes()), file_name(choices.bytes())) else { return };
    let names = Names::new(&active);
    let archive = archive(choices);
    let given = names.name(archive);
    assert_eq!(names.parse(&given), Some(archive), "{given:?}");
    assert!(names.is_unfinished(&names.unfinished(7)));
    assert!(names.is_unfinished(&names.unfinished_archive(archive.compressed(), 7)));
    assert!(archive <= archive.compressed());

    // Some name, and one that differs from ours in some place.
    let at = usize::from(choices.byte()).min(given.len());
    let gone = usize::from(choices.byte() % 30).min(given.len() - at);
    let put = choices.bytes();
    let changed = [&given.as_encoded_bytes()[..at], put, &given.as_encoded_bytes()[at + gone..]].concat();
    for name in [&changed, choices.bytes()] {
        let Some(name) = file_name(name) else { continue };
        let parsed = names.parse(&name);
        assert_eq!(parsed.is_some(), is_archive(active.as_encoded_bytes(), name.as_encoded_bytes()), "{name:?}");
        let Some(parsed) = parsed else { continue };
        assert_eq!(names.name(parsed), name);
        // The names sort as the archives do, except a compressed one, which stands after its plain
        // self.
        if parsed.compressed() != archive.compressed() {
            let plain =
                |name: &OsString| name.as_encoded_bytes()[..stem(active.as_encoded_bytes()).len() + 25].to_vec();
            assert_eq!(parsed.cmp(&archive), plain(&name).cmp(&plain(&given)), "{name:?} {given:?}");
        }
        let next = Archive::after(Some(parsed), choices.number() as i64);
        assert!(next > parsed || next == parsed.next(), "{next:?} after {parsed:?}");
    }

    // The archive of another log file. The one pair that cannot be told apart is that of `app` and
    // `app.gz`.
    let pair = |one: &OsString, two: &OsString| two.as_encoded_bytes() == [one.as_encoded_bytes(), b".gz"].concat();
    if active != other && !pair(&active, &other) && !pair(&other, &active) {
        let strange = Names::new(&other).name(archive);
        assert_eq!(names.parse(&strange), None, "{strange:?} is an archive of {other:?}, not of {active:?}");
    }
}

fn archive(choices: &mut Choices<'_>) -> Archive {
    let mut archive = Archive::after(None, choices.number() as i64 % 300_000_000_000);
    for _ in 0..choices.one_of(&[0, 1, 9, 300, 9_999, 10_001]) {
        archive = archive.next();
    }
    if choices.flag() { archive.compressed() } else { archive }
}

/// What can be the name of a file.
fn file_name(bytes: &[u8]) -> Option<OsString> {
    if matches!(bytes, b"" | b"." | b"..") || bytes.contains(&b'/') || bytes.contains(&0) {
        return None;
    }
    #[cfg(unix)]
    return Some(std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec()));
    #[cfg(not(unix))]
    return std::str::from_utf8(bytes).ok().filter(|name| !name.contains(['\\', ':'])).map(OsString::from);
}

fn stem(active: &[u8]) -> &[u8] {
    match active.iter().rposition(|byte| *byte == b'.') {
        Some(at) if at > 0 => &active[..at],
        _ => active,
    }
}

/// Whether this is the name of an archive: the rules, told another way.
fn is_archive(active: &[u8], name: &[u8]) -> bool {
    let (stem, suffix) = active.split_at(stem(active).len());
    let Some(rest) = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix(b".")) else { return false };
    let Some((stamp, rest)) = rest.split_at_checked(24) else { return false };
    if rest.strip_suffix(b".gz").unwrap_or(rest) != suffix && rest != suffix {
        return false;
    }
    let fits = |(byte, pattern): (&u8, &u8)| if *pattern == b'0' { byte.is_ascii_digit() } else { byte == pattern };
    if !stamp.iter().zip(b"0000-00-00T00-00-00-0000").all(fits) {
        return false;
    }
    let number = |from, to| stamp[from..to].iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let leaps = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(leaps),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day) && number(11, 13) < 24 && number(14, 16) < 60 && number(17, 19) < 60
}
