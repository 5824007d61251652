//! The users and groups of this machine; runs on the thread that sets the logger up.

#[cfg(unix)]
use std::ffi::{CStr, CString};
#[cfg(unix)]
use std::mem::MaybeUninit;
#[cfg(unix)]
use std::ptr;

/// A group with thousands of members has a long entry.
#[cfg(unix)]
const FIRST_BUFFER: usize = 4 << 10;
#[cfg(unix)]
const LONGEST_BUFFER: usize = 4 << 20;

/// Returns the number of a user: of that name, or else the number that the text is. `None`: there
/// is no such user.
#[cfg(unix)]
pub(crate) fn user_id(user: &str) -> Option<u32> {
    let ask = |name: &CStr, buffer: &mut [libc::c_char]| {
        let (mut entry, mut found) = (MaybeUninit::<libc::passwd>::uninit(), ptr::null_mut());
        // SAFETY: the name ends with a NUL byte, the pointers and the length are those of values
        // that outlive the call, and the entry is read only if the call says that it has filled it.
        unsafe {
            let name = name.as_ptr();
            let error = libc::getpwnam_r(name, entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found);
            (error, (error == 0 && !found.is_null()).then(|| entry.assume_init().pw_uid))
        }
    };
    named(user, ask)
}

/// Returns the number of a group, as `user_id` does that of a user.
#[cfg(unix)]
pub(crate) fn group_id(group: &str) -> Option<u32> {
    let ask = |name: &CStr, buffer: &mut [libc::c_char]| {
        let (mut entry, mut found) = (MaybeUninit::<libc::group>::uninit(), ptr::null_mut());
        // SAFETY: see `user_id`.
        unsafe {
            let name = name.as_ptr();
            let error = libc::getgrnam_r(name, entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found);
            (error, (error == 0 && !found.is_null()).then(|| entry.assume_init().gr_gid))
        }
    };
    named(group, ask)
}

/// Asks with a buffer that is long enough. A text that is no name may be a number; the largest
/// stands for "unchanged" and is nobody's.
#[cfg(unix)]
fn named(text: &str, ask: impl Fn(&CStr, &mut [libc::c_char]) -> (libc::c_int, Option<u32>)) -> Option<u32> {
    let name = CString::new(text).ok()?;
    let mut buffer = vec![0; FIRST_BUFFER];
    let found = loop {
        match ask(&name, &mut buffer) {
            (libc::ERANGE, _) if buffer.len() < LONGEST_BUFFER => buffer.resize(buffer.len() * 4, 0),
            (_, found) => break found,
        }
    };
    found.or_else(|| text.parse().ok()).filter(|id| *id != u32::MAX)
}

/// There are none of this kind.
#[cfg(not(unix))]
pub(crate) fn user_id(_user: &str) -> Option<u32> {
    None
}

/// There are none of this kind.
#[cfg(not(unix))]
pub(crate) fn group_id(_group: &str) -> Option<u32> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_found_and_nothing_else() {
        for id in [user_id, group_id] {
            assert_eq!(id("0"), Some(0));
            assert_eq!(id("4000000000"), Some(4_000_000_000), "a number needs no name");
            for nobodys in ["", "no such name", "-1", "4294967295", "4294967296", "0x0", "a\0b"] {
                assert_eq!(id(nobodys), None, "{nobodys:?}");
            }
        }
        assert_eq!(user_id("root"), Some(0));
    }
}
