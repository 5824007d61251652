//! What is in the file system: a tree in memory. Each directory at its top is a disk of its own,
//! with its own space, its own faults and its own oddities.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

use fuser::Errno;

/// The unit of space.
pub(super) const BLOCK: u64 = 512;
pub(super) const ROOT: u64 = 1;

/// An operation that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    Lookup,
    Getattr,
    Create,
    Open,
    Read,
    Write,
    Truncate,
    Fallocate,
    Rename,
    Link,
    Unlink,
    Fsync,
    Statfs,
    Readdir,
}

pub(crate) const OPS: [Op; 14] = [
    Op::Lookup,
    Op::Getattr,
    Op::Create,
    Op::Open,
    Op::Read,
    Op::Write,
    Op::Truncate,
    Op::Fallocate,
    Op::Rename,
    Op::Link,
    Op::Unlink,
    Op::Fsync,
    Op::Statfs,
    Op::Readdir,
];

/// How an operation goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It is not done, and says so.
    Fails,
    /// It is done, and says that it has failed.
    DoneButFails,
    /// A write takes half of its bytes.
    Short,
    /// It does not answer until it is released; then it is done.
    Hangs,
}

pub(crate) const HOWS: [How; 4] = [How::Fails, How::DoneButFails, How::Short, How::Hangs];

/// What the numbers of inodes are worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Identity {
    #[default]
    Stable,
    /// Each name has a number of its own, as on sshfs.
    OfNames,
}

pub(crate) const IDENTITIES: [Identity; 2] = [Identity::Stable, Identity::OfNames];

/// Some calls of an operation that go wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) op: Op,
    pub(super) how: How,
    pub(super) errno: i32,
    /// The calls before it that go right.
    pub(super) after: u64,
    /// The calls that go wrong.
    pub(super) times: u64,
    /// One call has gone wrong.
    pub(super) is_met: bool,
}

/// A directory at the top: one disk.
pub(super) struct Disk {
    pub(super) capacity: u64,
    /// Freed space shows only after a sync.
    pub(super) is_late: bool,
    /// What the free space was at the last sync, less what was taken since.
    shown_free: u64,
    pub(super) identity: Identity,
    pub(super) faults: Vec<Fault>,
    pub(super) counts: BTreeMap<Op, u64>,
    /// Handles of an earlier mount are stale.
    pub(super) mount: u64,
}

impl Disk {
    fn new() -> Self {
        Self {
            capacity: 64 << 20,
            is_late: false,
            shown_free: 0,
            identity: Identity::Stable,
            faults: Vec::new(),
            counts: BTreeMap::new(),
            mount: 0,
        }
    }
}

pub(super) struct Node {
    pub(super) what: What,
    pub(super) links: u32,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) modified: SystemTime,
    /// The disk on which it stands: the number of the directory at the top.
    pub(super) disk: u64,
}

pub(super) enum What {
    Dir { parent: u64, names: BTreeMap<OsString, Name> },
    File { bytes: Vec<u8>, allocated: u64, synced: Vec<u8> },
}

#[derive(Clone, Copy)]
pub(super) struct Name {
    node: u64,
    /// The number under which the kernel knows it.
    pub(super) known_as: u64,
}

impl Node {
    fn file(mode: u32, owner: (u32, u32), disk: u64) -> Self {
        let what = What::File { bytes: Vec::new(), allocated: 0, synced: Vec::new() };
        Self { what, links: 1, mode, owner, modified: SystemTime::now(), disk }
    }

    pub(super) fn bytes(&mut self) -> Result<&mut Vec<u8>, Errno> {
        match &mut self.what {
            What::File { bytes, .. } => Ok(bytes),
            What::Dir { .. } => Err(Errno::EISDIR),
        }
    }

    pub(super) fn len(&self) -> u64 {
        if let What::File { bytes, .. } = &self.what { bytes.len() as u64 } else { 0 }
    }

    /// The space that it takes.
    pub(super) fn space(&self) -> u64 {
        match &self.what {
            What::File { bytes, allocated, .. } => (*allocated).max(bytes.len() as u64).next_multiple_of(BLOCK),
            What::Dir { .. } => 0,
        }
    }
}

/// The whole tree.
pub(super) struct Store {
    nodes: BTreeMap<u64, Node>,
    /// The numbers that the kernel knows, and the nodes that they mean.
    known: BTreeMap<u64, u64>,
    next: u64,
    pub(super) disks: BTreeMap<u64, Disk>,
    /// What hangs, until it is released.
    pub(super) held: VecDeque<Held>,
}

pub(super) type Held = Box<dyn FnOnce(&mut Store) + Send>;

impl Store {
    pub(super) fn new() -> Self {
        let what = What::Dir { parent: ROOT, names: BTreeMap::new() };
        let root = Node { what, links: 2, mode: 0o755, owner: (0, 0), modified: SystemTime::now(), disk: ROOT };
        Self {
            nodes: BTreeMap::from([(ROOT, root)]),
            known: BTreeMap::from([(ROOT, ROOT)]),
            next: ROOT + 1,
            disks: BTreeMap::from([(ROOT, Disk::new())]),
            held: VecDeque::new(),
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The node that the kernel means by a number.
    pub(super) fn node(&mut self, number: u64) -> Result<&mut Node, Errno> {
        let node = self.known.get(&number).ok_or(Errno::ESTALE)?;
        self.nodes.get_mut(node).ok_or(Errno::ESTALE)
    }

    pub(super) fn disk_of(&mut self, number: u64) -> u64 {
        self.node(number).map_or(ROOT, |node| node.disk)
    }

    pub(super) fn disk(&mut self, number: u64) -> &mut Disk {
        let disk = self.disk_of(number);
        self.disks.get_mut(&disk).unwrap()
    }

    pub(super) fn disk_named(&mut self, name: &str) -> u64 {
        self.lookup(ROOT, OsStr::new(name)).ok().and_then(|known| self.known.get(&known).copied()).unwrap()
    }

    /// The fault of the next call of an operation on a disk, if it has one; counts the call.
    pub(super) fn fault(&mut self, number: u64, op: Op) -> Option<Fault> {
        let disk = self.disk(number);
        *disk.counts.entry(op).or_default() += 1;
        let fault = disk.faults.iter_mut().find(|fault| fault.op == op && fault.times > 0)?;
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        fault.times -= 1;
        fault.is_met = true;
        Some(*fault)
    }

    pub(super) fn names(&mut self, dir: u64) -> Result<&mut BTreeMap<OsString, Name>, Errno> {
        match &mut self.node(dir)?.what {
            What::Dir { names, .. } => Ok(names),
            What::File { .. } => Err(Errno::ENOTDIR),
        }
    }

    /// The number under which the kernel is to know a name.
    pub(super) fn lookup(&mut self, dir: u64, name: &OsStr) -> Result<u64, Errno> {
        if name == ".." {
            let What::Dir { parent, .. } = self.node(dir)?.what else { return Err(Errno::ENOTDIR) };
            return Ok(parent);
        }
        Ok(self.names(dir)?.get(name).ok_or(Errno::ENOENT)?.known_as)
    }

    fn add(&mut self, dir: u64, name: OsString, node: Node) -> u64 {
        let number = self.number();
        self.nodes.insert(number, node);
        self.known.insert(number, number);
        self.names(dir).unwrap().insert(name, Name { node: number, known_as: number });
        number
    }

    pub(super) fn create(&mut self, dir: u64, name: OsString, mode: u32, owner: (u32, u32)) -> Result<u64, Errno> {
        if self.names(dir)?.contains_key(&name) {
            return Err(Errno::EEXIST);
        }
        let disk = self.disk_of(dir);
        Ok(self.add(dir, name, Node::file(mode, owner, disk)))
    }

    pub(super) fn make_dir(&mut self, dir: u64, name: OsString, mode: u32, owner: (u32, u32)) -> Result<u64, Errno> {
        if self.names(dir)?.contains_key(&name) {
            return Err(Errno::EEXIST);
        }
        let disk = self.disk_of(dir);
        let what = What::Dir { parent: dir, names: BTreeMap::new() };
        let number = self.add(dir, name, Node { what, links: 2, mode, owner, modified: SystemTime::now(), disk });
        if dir == ROOT {
            self.disks.insert(number, Disk::new());
            self.node(number)?.disk = number;
        }
        Ok(number)
    }

    pub(super) fn link(&mut self, number: u64, dir: u64, name: OsString) -> Result<u64, Errno> {
        if self.names(dir)?.contains_key(&name) {
            return Err(Errno::EEXIST);
        }
        let node = *self.known.get(&number).ok_or(Errno::ESTALE)?;
        let known_as = if self.disk(number).identity == Identity::OfNames { self.number() } else { node };
        self.known.insert(known_as, node);
        self.node(known_as)?.links += 1;
        self.names(dir)?.insert(name, Name { node, known_as });
        Ok(known_as)
    }

    /// The node stays as long as the kernel may mean it: for ever.
    pub(super) fn unlink(&mut self, dir: u64, name: &OsStr) -> Result<(), Errno> {
        let before = self.free(dir);
        let name = self.names(dir)?.remove(name).ok_or(Errno::ENOENT)?;
        self.node(name.node)?.links -= 1;
        self.freed(dir, before);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, dir: u64, name: &OsStr) -> Result<(), Errno> {
        let number = self.names(dir)?.get(name).ok_or(Errno::ENOENT)?.node;
        if !self.names(number)?.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.unlink(dir, name)
    }

    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, OsString), may_replace: bool) -> Result<(), Errno> {
        let moved = *self.names(from.0)?.get(from.1).ok_or(Errno::ENOENT)?;
        match self.names(to.0)?.get(&to.1) {
            Some(_) if !may_replace => return Err(Errno::EEXIST),
            // Two names of one file: nothing to do.
            Some(there) if there.node == moved.node => return Ok(()),
            Some(_) => self.unlink(to.0, &to.1.clone())?,
            None => {}
        }
        self.names(from.0)?.remove(from.1);
        self.names(to.0)?.insert(to.1, moved);
        Ok(())
    }

    /// The space that nobody has taken.
    fn free(&mut self, number: u64) -> u64 {
        let disk = self.disk_of(number);
        // What has no name any more takes space only while it is open; nobody counts on that here.
        let on_it = self.nodes.values().filter(|node| node.disk == disk && node.links > 0);
        let taken: u64 = on_it.map(Node::space).sum();
        self.disks[&disk].capacity.saturating_sub(taken)
    }

    /// The space that the disk says nobody has taken.
    pub(super) fn shown_free(&mut self, number: u64) -> u64 {
        let free = self.free(number);
        let disk = self.disk(number);
        if disk.is_late { free.min(disk.shown_free) } else { free }
    }

    /// Something may have been freed since the free space was `before`.
    fn freed(&mut self, number: u64, before: u64) {
        let disk = self.disk(number);
        if !disk.is_late {
            return;
        }
        disk.shown_free = disk.shown_free.min(before);
    }

    /// Shows the space that is free.
    pub(super) fn commit(&mut self, number: u64) {
        let free = self.free(number);
        self.disk(number).shown_free = free;
    }

    pub(super) fn write(&mut self, number: u64, at: u64, data: &[u8]) -> Result<u32, Errno> {
        let free = self.free(number);
        let node = self.node(number)?;
        let before = node.space();
        // As much as there is room for; none at all is an error.
        let room = (before + free).saturating_sub(at);
        let take = data.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        if take == 0 && !data.is_empty() {
            return Err(Errno::ENOSPC);
        }
        let bytes = node.bytes()?;
        let end = at as usize + take;
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[at as usize..end].copy_from_slice(&data[..take]);
        node.modified = SystemTime::now();
        let taken = node.space() - before;
        let disk = self.disk(number);
        disk.shown_free = disk.shown_free.saturating_sub(taken);
        Ok(take as u32)
    }

    pub(super) fn truncate(&mut self, number: u64, len: u64) -> Result<(), Errno> {
        let before = self.free(number);
        let node = self.node(number)?;
        node.bytes()?.resize(len as usize, 0);
        node.modified = SystemTime::now();
        if let What::File { allocated, .. } = &mut node.what {
            *allocated = 0;
        }
        self.freed(number, before);
        Ok(())
    }

    pub(super) fn allocate(&mut self, number: u64, to: u64) -> Result<(), Errno> {
        let free = self.free(number);
        let node = self.node(number)?;
        let before = node.space();
        if to.next_multiple_of(BLOCK).saturating_sub(before) > free {
            return Err(Errno::ENOSPC);
        }
        if let What::File { allocated, .. } = &mut node.what {
            *allocated = to.max(*allocated);
        }
        let taken = node.space() - before;
        let disk = self.disk(number);
        disk.shown_free = disk.shown_free.saturating_sub(taken);
        Ok(())
    }

    pub(super) fn sync(&mut self, number: u64) -> Result<(), Errno> {
        if let What::File { bytes, synced, .. } = &mut self.node(number)?.what {
            synced.clone_from(bytes);
        }
        self.commit(number);
        Ok(())
    }

    /// The disk goes and comes back: what was not synced is lost, and every handle is stale.
    pub(super) fn remount(&mut self, disk: u64) {
        for node in self.nodes.values_mut().filter(|node| node.disk == disk) {
            if let What::File { bytes, synced, allocated } = &mut node.what {
                bytes.clone_from(synced);
                *allocated = 0;
            }
        }
        self.disk(disk).mount += 1;
    }

    /// Forgets a disk.
    pub(super) fn discard(&mut self, disk: u64) {
        self.nodes.retain(|_, node| node.disk != disk);
    }
}
