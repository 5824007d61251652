//! What a fork leaves behind. The hook runs in the child, on its only thread, before `fork`
//! returns; the rest on any thread.
//!
//! A child may not touch what belonged to threads that did not come with it. So what a log call
//! needs is a `PerProcess`: it is there only in the process that made it, and a child finds nothing
//! and makes its own.

#[cfg(unix)]
use std::io;
#[cfg(unix)]
use std::ptr;
use std::ptr::NonNull;
use std::sync::Arc;

#[cfg(unix)]
use crate::sync::atomic::{AtomicI32, Ordering::Release};
use crate::sync::atomic::{
    AtomicPtr, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use crate::sync::process_wide;

#[cfg(unix)]
use super::grow_only::GrowOnly;
#[cfg(unix)]
use super::identity::{Found, Identity, find, identity_of, is_closed};

process_wide! {
    /// How many forks lie between the first process and this one.
    static GENERATION: AtomicU64 = AtomicU64::new(0);
}

/// Returns how many forks lie between the first process and this one, as far as they were watched.
pub(crate) fn generation() -> u64 {
    // Relaxed: it changes only while a process has one thread.
    GENERATION.load(Relaxed)
}

/// Makes a forked child know that it is one. To be called before the first `PerProcess` is made.
pub(crate) fn watch_forks() {
    static WATCHED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    if !WATCHED.swap(true, Relaxed) {
        #[cfg(unix)]
        // SAFETY: the handler is a plain function that stays for the life of the process, and does
        // only what is allowed between fork and exec: atomics, statx(2), fcntl(2) and close(2).
        // Should the call fail (no memory), forks go unnoticed, as without it.
        unsafe {
            libc::pthread_atfork(None, None, Some(in_child));
        }
    }
}

#[cfg(unix)]
pub(crate) extern "C" fn in_child() {
    GENERATION.fetch_add(1, Relaxed);
    for cell in CELLS.iter() {
        let fd = cell.fd.swap(FREE, Relaxed);
        let flags = cell.flags.load(Relaxed);
        let was = Identity {
            device: cell.device.load(Relaxed),
            number: cell.number.load(Relaxed),
            flags: (flags >= 0).then_some(flags),
        };
        // A file that the program has opened at this number meanwhile is the child's, too.
        if fd >= 0 && find(fd).is_ok_and(|found| was.is_at(fd, &found)) {
            // SAFETY: the number is in its cell only while the parent's `Descriptor` owns it, and
            // no code of the child uses that one: it belongs to a writer who is not here.
            unsafe { libc::close(fd) };
        }
    }
}

/// A value that a forked child does not inherit.
pub(crate) struct PerProcess<T> {
    node: AtomicPtr<Node<T>>,
}

struct Node<T> {
    generation: u64,
    value: Arc<T>,
}

// SAFETY: a `PerProcess` hands out only `&T` and clones of the `Arc`, which `Send + Sync` of `T`
// allow; the pointer itself is atomic.
unsafe impl<T: Send + Sync> Send for PerProcess<T> {}
// SAFETY: as for `Send`: only `&T` and clones of the `Arc` are handed out.
unsafe impl<T: Send + Sync> Sync for PerProcess<T> {}

impl<T> PerProcess<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self { node: AtomicPtr::new(Node::boxed(value)) }
    }

    /// Returns the value, or nothing in a child that has not made its own.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        let node = self.node();
        (node.generation == generation()).then(|| &*node.value)
    }

    /// Puts a value where there is none. Of several threads at once, one puts in its own.
    pub(crate) fn put(&self, value: &Arc<T>) -> bool {
        let old = self.node.load(Acquire);
        if self.get().is_some() {
            return false;
        }
        let new = Node::boxed(value.clone());
        // The parent's node, and what it holds, is leaked: nobody may touch it here, not even to
        // drop it. Release: whoever sees the pointer sees the node.
        let put = self.node.compare_exchange(old, new, AcqRel, Relaxed).is_ok();
        if !put {
            // SAFETY: `new` comes from `Box::into_raw` and has been given to nobody.
            drop(unsafe { Box::from_raw(new) });
        }
        put
    }

    #[inline]
    fn node(&self) -> &Node<T> {
        // SAFETY: the pointer comes from `Box::into_raw`; a node is freed only in `drop`, which has
        // the only reference to `self`; one that was replaced is leaked. Acquire pairs with the
        // Release of `put`.
        unsafe { NonNull::new_unchecked(self.node.load(Acquire)).as_ref() }
    }
}

impl<T> Node<T> {
    fn boxed(value: Arc<T>) -> *mut Self {
        Box::into_raw(Box::new(Self { generation: generation(), value }))
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        if self.get().is_some() {
            // SAFETY: see `node`; nobody else has a reference to `self` any more.
            drop(unsafe { Box::from_raw(self.node.load(Relaxed)) });
        }
    }
}

#[cfg(unix)]
process_wide! {
    /// Descriptors that a child closes: a flock belongs to the open file, and would stay as long as
    /// any process has it open.
    static CELLS: GrowOnly<Cell> = GrowOnly(AtomicPtr::new(ptr::null_mut()));
}

#[cfg(unix)]
struct Cell {
    /// The descriptor; or `FREE`.
    fd: AtomicI32,
    /// The file to which it leads, stored before the number. These are no atomics of loom: only a
    /// forked child reads them, on its only thread.
    device: std::sync::atomic::AtomicU64,
    number: std::sync::atomic::AtomicU64,
    flags: std::sync::atomic::AtomicI32,
}

#[cfg(unix)]
const FREE: i32 = -1;
#[cfg(unix)]
const CLAIMED: i32 = -2;
/// The number was closed by the program, and another descriptor of ours has got it.
#[cfg(unix)]
const LOST: i32 = -3;
/// No flags are known.
#[cfg(unix)]
const NONE: i32 = -1;

/// As long as it lives, a forked child closes the descriptor. To be dropped before the descriptor
/// is closed.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct CloseInChild {
    pub(crate) cell: &'static AtomicI32,
    /// The file to which the descriptor led at first; `None` if that could not be seen.
    identity: Option<Identity>,
    generation: u64,
}

#[cfg(unix)]
impl CloseInChild {
    /// `shared`: it is a copy of a descriptor of the program.
    pub(crate) fn new(fd: i32, shared: bool) -> Self {
        let Cell { fd: cell, device, number, flags } = free_cell();
        let identity = identity_of(fd, shared).ok();
        if let Some(identity) = identity {
            device.store(identity.device, Relaxed);
            number.store(identity.number, Relaxed);
            flags.store(identity.flags.unwrap_or(NONE), Relaxed);
        }
        lose(fd);
        cell.store(fd, Release);
        Self { cell, identity, generation: generation() }
    }

    /// Returns true if the number `fd` still leads to what was opened, by what `find` finds there.
    /// Where nobody can know, it does.
    pub(super) fn is_still_at(&self, fd: i32, find: impl FnOnce() -> io::Result<Found>) -> bool {
        // Another descriptor of ours may have got the number since.
        if self.generation == generation() && self.cell.load(Relaxed) != fd {
            return false;
        }
        let Some(was) = self.identity else { return !is_closed(fd) };
        match find() {
            Ok(found) => was.is_at(fd, &found),
            Err(error) => error.raw_os_error() != Some(libc::EBADF),
        }
    }
}

#[cfg(unix)]
impl Drop for CloseInChild {
    fn drop(&mut self) {
        // In a child the cell is another's already.
        if self.generation == generation() {
            self.cell.store(FREE, Release);
        }
    }
}

/// Takes the number `fd` from whoever had it: the system has just given it to somebody else.
#[cfg(unix)]
fn lose(fd: i32) {
    for cell in CELLS.iter() {
        // Relaxed: the number is all that there is to see.
        let _ = cell.fd.compare_exchange(fd, LOST, Relaxed, Relaxed);
    }
}

#[cfg(unix)]
fn free_cell() -> &'static Cell {
    let take = |cell: &Cell| cell.fd.compare_exchange(FREE, CLAIMED, AcqRel, Relaxed).is_ok();
    CELLS.take(take, || Cell {
        fd: AtomicI32::new(CLAIMED),
        device: std::sync::atomic::AtomicU64::new(0),
        number: std::sync::atomic::AtomicU64::new(0),
        flags: std::sync::atomic::AtomicI32::new(NONE),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_until_another_process_puts_its_own() {
        let value = Arc::new(5);
        let per_process = PerProcess::new(value.clone());
        assert_eq!(per_process.get(), Some(&5));
        assert!(!per_process.put(&Arc::new(6)), "it is there");
        drop(per_process);
        assert_eq!(Arc::strong_count(&value), 1, "nothing leaks in the process that made it");
    }

    #[cfg(unix)]
    #[test]
    fn a_cell_is_used_again() {
        let first = CloseInChild::new(1000, false);
        let place: *const AtomicI32 = first.cell;
        drop(first);
        // Other tests may take it meanwhile; among so many it comes again.
        let held: Vec<_> = (1000..1100).map(|fd| CloseInChild::new(fd, false)).collect();
        assert!(held.iter().any(|one| ptr::eq(one.cell, place)));
    }
}
