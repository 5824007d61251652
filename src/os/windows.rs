//! What Windows is asked that std does not ask: identity, locks, space, names, consoles. Runs on
//! the writer's thread, except `file_id`, which also compares paths when a logger is set up, and
//! `stay_loaded`.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::windows::ffi::OsStrExt as _;
use std::os::windows::io::AsRawHandle as _;
use std::path::{Component, Path, Prefix};
use std::ptr;

use windows_sys::Win32::Foundation::{
    ERROR_INVALID_FUNCTION, ERROR_IO_PENDING, ERROR_LOCK_VIOLATION, ERROR_NOT_SUPPORTED, HANDLE,
};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_ID_INFO, FILE_INFO_BY_HANDLE_CLASS, FILE_STANDARD_INFO, FILE_TYPE_DISK,
    FileIdInfo, FileStandardInfo, GetDiskFreeSpaceExW, GetDiskFreeSpaceW, GetFileInformationByHandle,
    GetFileInformationByHandleEx, GetFileType, LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY, LockFileEx,
    MoveFileExW, UnlockFileEx,
};
use windows_sys::Win32::System::Console::{
    ENABLE_VIRTUAL_TERMINAL_PROCESSING, GetConsoleMode, SetConsoleMode, WriteConsoleW,
};
use windows_sys::Win32::System::Diagnostics::Debug::{SEM_FAILCRITICALERRORS, SetThreadErrorMode};
use windows_sys::Win32::System::IO::OVERLAPPED;
use windows_sys::Win32::System::LibraryLoader::{
    GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GET_MODULE_HANDLE_EX_FLAG_PIN, GetModuleHandleExW,
};
use windows_sys::core::BOOL;

use super::Writers;

/// What is locked: one byte beyond any end, so that the lock keeps no reader and no writer out.
const LOCKED_BYTE: u64 = i64::MAX as u64 - 1;
/// The byte before it, for the lock that all who write to the file share.
const WRITERS_BYTE: u64 = LOCKED_BYTE - 1;

/// Returns the last error, if a call says that it failed.
fn check(done: BOOL) -> io::Result<()> {
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Returns a path as the system takes it, with its final NUL. A long one is only taken in its
/// verbatim form.
fn wide(path: &Path) -> Vec<u16> {
    const LONG: usize = 240;

    let plain = path.as_os_str();
    let mut verbatim = OsString::new();
    if let (LONG.., Some(Component::Prefix(prefix))) = (plain.len(), path.components().next()) {
        match prefix.kind() {
            Prefix::Disk(_) => verbatim.push(r"\\?\"),
            Prefix::UNC(..) => verbatim.push(r"\\?\UNC"), // Its two backslashes become one.
            _ => {}
        }
    }
    let skipped = usize::from(verbatim.len() > 4);
    verbatim.encode_wide().chain(plain.encode_wide().skip(skipped)).chain([0]).collect()
}

fn handle(file: &File) -> HANDLE {
    file.as_raw_handle()
}

/// Reads one of the structures that describe an open file.
///
/// # Safety
///
/// `T` is the structure of `class`, and every pattern of bits is valid for it.
unsafe fn information<T>(file: &File, class: FILE_INFO_BY_HANDLE_CLASS) -> io::Result<T> {
    let mut answer = MaybeUninit::<T>::zeroed();
    let len = mem::size_of::<T>() as u32;
    // SAFETY: the pointer and the length are those of `answer`, which outlives the call.
    check(unsafe { GetFileInformationByHandleEx(handle(file), class, answer.as_mut_ptr().cast(), len) })?;
    // SAFETY: zeroed, and filled by the call: the caller promises that it is valid.
    Ok(unsafe { answer.assume_init() })
}

/// Returns the volume of an open file, and its number there: what distinguishes files, whatever
/// they are called. `Unsupported` if the file has no number, as on some network shares.
pub(crate) fn file_id(file: &File) -> io::Result<(u64, u128)> {
    // SAFETY: the structure is that of the class, and holds numbers alone.
    if let Ok(id) = unsafe { information::<FILE_ID_INFO>(file, FileIdInfo) } {
        let number = u128::from_le_bytes(id.FileId.Identifier);
        if distinguishes(number, u128::MAX) {
            return Ok((id.VolumeSerialNumber, number));
        }
    }
    // File systems with numbers of 64 bits alone, as FAT.
    let mut answer = MaybeUninit::<BY_HANDLE_FILE_INFORMATION>::zeroed();
    // SAFETY: the pointer is to `answer`, which outlives the call.
    check(unsafe { GetFileInformationByHandle(handle(file), answer.as_mut_ptr()) })?;
    // SAFETY: zeroed, and filled by the call; it holds numbers alone.
    let answer = unsafe { answer.assume_init() };
    let number = u128::from(answer.nFileIndexHigh) << 32 | u128::from(answer.nFileIndexLow);
    if !distinguishes(number, u64::MAX.into()) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok((answer.dwVolumeSerialNumber.into(), number))
}

/// Returns whether a file's number is one, and not 0 or `greatest`, which many files have: the
/// first where the file system numbers none, the second where it cannot number this one (MS-FSCC,
/// 2.1.9 and 2.1.10).
fn distinguishes(number: u128, greatest: u128) -> bool {
    number != 0 && number != greatest
}

/// `FILE_STANDARD_INFO`, with numbers for its two booleans.
#[repr(C)]
struct StandardInfo {
    allocation_size: i64,
    end_of_file: i64,
    number_of_links: u32,
    delete_pending: u8,
    directory: u8,
}

const _: () = assert!(mem::size_of::<StandardInfo>() == mem::size_of::<FILE_STANDARD_INFO>());

/// Returns the length of an open file, and how many bytes it has taken from its volume.
pub(crate) fn size(file: &File) -> io::Result<(u64, u64)> {
    let info = standard_info(file)?;
    Ok((u64::try_from(info.end_of_file).unwrap_or(0), u64::try_from(info.allocation_size).unwrap_or(0)))
}

/// Returns whether a directory is open. No right to its attributes is needed: a stream of the
/// process may be a handle that can do no more than write.
pub(crate) fn is_directory(file: &File) -> io::Result<bool> {
    Ok(standard_info(file)?.directory != 0)
}

/// Returns whether the last name of an open file is gone, or goes when it is closed.
pub(crate) fn is_deleted(file: &File) -> io::Result<bool> {
    let info = standard_info(file)?;
    Ok(info.delete_pending != 0 || info.number_of_links == 0)
}

fn standard_info(file: &File) -> io::Result<StandardInfo> {
    // SAFETY: the structure is that of the class, and holds numbers alone.
    unsafe { information(file, FileStandardInfo) }
}

/// Returns whether the handle is that of a file on a disk: not of a console, a pipe or a device.
pub(crate) fn is_on_disk(file: &File) -> bool {
    // SAFETY: the handle is open as long as `file` is borrowed, and no pointer is passed.
    unsafe { GetFileType(handle(file)) == FILE_TYPE_DISK }
}

/// Locks the file for this handle; `false` if another handle has the lock. Never waits.
pub(crate) fn lock(file: &File) -> io::Result<bool> {
    match lock_byte(file, LOCKED_BYTE, LOCKFILE_EXCLUSIVE_LOCK) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives the lock back.
pub(crate) fn unlock(file: &File) -> io::Result<()> {
    unlock_byte(file, LOCKED_BYTE)
}

/// Has the lock that all who write to the file share, or has it alone. What this handle had before
/// is given back first: no lock here can be changed. `Unsupported` where there are no such locks.
pub(crate) fn set_writers(file: &File, how: Writers) -> io::Result<()> {
    let left = unlock_byte(file, WRITERS_BYTE);
    let done = match how {
        Writers::Shared => lock_byte(file, WRITERS_BYTE, 0),
        Writers::Alone => lock_byte(file, WRITERS_BYTE, LOCKFILE_EXCLUSIVE_LOCK),
        Writers::Left => left,
    };
    done.map_err(|error| match error.raw_os_error().map(|code| code as u32) {
        Some(ERROR_INVALID_FUNCTION | ERROR_NOT_SUPPORTED) => io::ErrorKind::Unsupported.into(),
        _ => error,
    })
}

/// Returns whether another handle has the lock that all who write to the file share, as far as that
/// can be known.
#[cfg(feature = "gzip")]
pub(crate) fn others_write(file: &File) -> bool {
    let is_shared = set_writers(file, Writers::Alone).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
    // Nothing is left to be done where it fails: the handle is closed soon.
    let _ = set_writers(file, Writers::Left);
    is_shared
}

/// `WouldBlock`: another handle has it.
fn lock_byte(file: &File, at: u64, how: u32) -> io::Result<()> {
    let mut place = place(at);
    let flags = how | LOCKFILE_FAIL_IMMEDIATELY;
    // SAFETY: the pointer is to `place`, which outlives the call: the handle is a synchronous one,
    // so nothing is pending when the call returns.
    check(unsafe { LockFileEx(handle(file), flags, 0, 1, 0, &mut place) })
        .map_err(|error| if is_contended(&error) { io::ErrorKind::WouldBlock.into() } else { error })
}

fn unlock_byte(file: &File, at: u64) -> io::Result<()> {
    let mut place = place(at);
    // SAFETY: as for `lock_byte`.
    check(unsafe { UnlockFileEx(handle(file), 0, 1, 0, &mut place) })
}

fn is_contended(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| [ERROR_LOCK_VIOLATION, ERROR_IO_PENDING].contains(&(code as u32)))
}

fn place(at: u64) -> OVERLAPPED {
    let mut place = OVERLAPPED::default();
    place.Anonymous.Anonymous.Offset = at as u32;
    place.Anonymous.Anonymous.OffsetHigh = (at >> 32) as u32;
    place
}

/// Bytes of the volume on which a directory is: all of them and the free ones, as far as they are
/// this user's, and the unit in which they are taken.
pub(crate) fn free_space(dir: &Path) -> io::Result<(u64, u64, u64)> {
    const USUAL_CLUSTER: u64 = 4096;

    // A share is asked by its root, which ends in a backslash.
    let path = wide(&dir.join(""));
    let (mut total, mut free) = (0, 0);
    // SAFETY: the path ends with NUL, the other pointers are to numbers; all outlive the call.
    check(unsafe { GetDiskFreeSpaceExW(path.as_ptr(), &mut free, &mut total, ptr::null_mut()) })?;
    let (mut sectors, mut bytes, mut unused) = (0, 0, [0_u32; 2]);
    let [free_clusters, clusters] = &mut unused;
    // SAFETY: the path ends with NUL, the other pointers are to numbers; all outlive the call.
    let known = unsafe { GetDiskFreeSpaceW(path.as_ptr(), &mut sectors, &mut bytes, free_clusters, clusters) };
    let cluster = u64::from(sectors) * u64::from(bytes);
    Ok((total, free, if known == 0 || cluster == 0 { USUAL_CLUSTER } else { cluster }))
}

/// Renames within one volume, in one step; an error if anything is there.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (wide(from), wide(to));
    // SAFETY: both paths end with NUL and outlive the call.
    check(unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), 0) })
}

/// Returns whether the handle is that of a console.
pub(crate) fn is_console(file: &File) -> bool {
    let mut mode = 0;
    // SAFETY: the pointer is to `mode`, which outlives the call.
    unsafe { GetConsoleMode(handle(file), &mut mode) != 0 }
}

/// Has a console take escape sequences for what they are. An error if the handle is that of
/// something else, or if the console is too old.
pub(crate) fn show_colors(console: &File) -> io::Result<()> {
    let mut mode = 0;
    // SAFETY: the pointer is to `mode`, which outlives the call.
    check(unsafe { GetConsoleMode(handle(console), &mut mode) })?;
    // SAFETY: the handle is open, and the call takes no pointer.
    check(unsafe { SetConsoleMode(handle(console), mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING) })
}

/// Writes text to a console; says how many units it took.
pub(crate) fn write_console(console: &File, text: &[u16]) -> io::Result<usize> {
    let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let mut taken = 0;
    // SAFETY: the pointers are to `text`, of at least `len` units, and to `taken`; both outlive the
    // call. The last argument is reserved, and has to be null.
    check(unsafe { WriteConsoleW(handle(console), text.as_ptr(), len, &mut taken, ptr::null()) })?;
    Ok(taken as usize)
}

/// Keeps the DLL that this crate is in loaded until the process ends. Otherwise `FreeLibrary` would
/// run the exit hook after the thread-locals of its thread are destroyed, and remove the code in
/// which the crate's threads still run. Changes nothing in a program that is no DLL.
pub(crate) fn stay_loaded() {
    const BY_ADDRESS: u32 = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN;

    let inside = stay_loaded as *const u16;
    let mut module = ptr::null_mut();
    // SAFETY: with this flag the first pointer is not read: it is an address in the module. The
    // second one is to `module`, which outlives the call. The call cannot fail for a module that
    // runs, and a handle of a module needs no release.
    unsafe { GetModuleHandleExW(BY_ADDRESS, inside, &mut module) };
}

/// Makes a drive without a medium an error for the calling thread. Otherwise the system asks
/// whoever sits there for the medium, and the thread waits for the answer.
pub(crate) fn show_no_dialogs() {
    // SAFETY: the first argument is one of the modes, and the second may be null: the mode before
    // is not asked for.
    unsafe { SetThreadErrorMode(SEM_FAILCRITICALERRORS, ptr::null_mut()) };
}

/// Returns whether the process is ending and has no thread but this one.
pub(crate) fn is_last_thread() -> bool {
    #[link(name = "ntdll")]
    unsafe extern "system" {
        safe fn RtlDllShutdownInProgress() -> u8;
    }

    RtlDllShutdownInProgress() != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every archive had the number of the active file, was taken for its second name, and was
    /// deleted.
    #[test]
    fn the_number_of_a_file_that_has_none_distinguishes_nothing() {
        for greatest in [u64::MAX.into(), u128::MAX] {
            assert!(!distinguishes(0, greatest) && !distinguishes(greatest, greatest), "{greatest:x}");
            assert!(distinguishes(1, greatest) && distinguishes(greatest - 1, greatest), "{greatest:x}");
        }
    }
}
