//! The process that serves the file system: fuser's calls, and the commands that come by its
//! standard input.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::store::{BLOCK, Fault, HOWS, How, IDENTITIES, OPS, Op, Store, What};

/// The kernel remembers nothing: each look arrives here.
const NEVER: Duration = Duration::ZERO;

/// Serves the file system at `point` until the standard input ends. Says `ready`, or why not.
pub(crate) fn serve(point: &Path) {
    let store = Arc::new(Mutex::new(Store::new()));
    let mut config = Config::default();
    config.mount_options = vec![fuser::MountOption::FSName("faulty".to_owned())];
    config.acl = fuser::SessionACL::All;
    let mounted = fuser::spawn_mount(Faulty { store: store.clone() }, point, &config);
    let session = match mounted {
        Ok(session) => session,
        Err(error) => return say(&error.to_string().replace('\n', " ")),
    };
    say("ready");
    for line in std::io::stdin().lock().lines() {
        let words: Vec<String> = line.unwrap().split(' ').map(str::to_owned).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        say(&obey(&mut store.lock().unwrap(), &words));
    }
    // The process ends: nobody is left to look at the mount, which belongs to its namespace.
    std::mem::forget(session);
}

fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{what}").unwrap();
    out.flush().unwrap();
}

/// One of those whose names are on both sides.
fn named<T: Copy + std::fmt::Debug>(all: &[T], name: &str) -> T {
    *all.iter().find(|one| format!("{one:?}") == name).unwrap_or_else(|| panic!("{name}"))
}

fn obey(store: &mut Store, words: &[&str]) -> String {
    if let ["held"] = words {
        return store.held.len().to_string();
    }
    if let ["release"] = words {
        while let Some(held) = store.held.pop_front() {
            held(store);
        }
        return "ok".to_owned();
    }
    let disk = store.disk_named(words[1]);
    match words {
        ["arm", _, op, how, errno, after, times] => {
            let (op, how) = (named(&OPS, op), named(&HOWS, how));
            let number = |word: &str| word.parse().unwrap();
            let errno = errno.parse().unwrap();
            let fault = Fault { op, how, errno, after: number(after), times: number(times), is_met: false };
            store.disk(disk).faults.push(fault);
        }
        ["clear", _] => store.disk(disk).faults.clear(),
        ["counts", _] => {
            let counts = std::mem::take(&mut store.disk(disk).counts);
            return counts.iter().map(|(op, count)| format!("{op:?}={count} ")).collect();
        }
        ["unmet", _] => return store.disk(disk).faults.iter().filter(|fault| !fault.is_met).count().to_string(),
        ["capacity", _, bytes] => store.disk(disk).capacity = bytes.parse().unwrap(),
        ["identity", _, identity] => store.disk(disk).identity = named(&IDENTITIES, identity),
        ["late", _] => {
            store.disk(disk).is_late = true;
            store.commit(disk);
        }
        ["commit", _] => store.commit(disk),
        ["remount", _] => store.remount(disk),
        ["discard", _] => store.discard(disk),
        _ => panic!("{words:?}"),
    }
    "ok".to_owned()
}

struct Faulty {
    store: Arc<Mutex<Store>>,
}

/// How a request is answered.
trait Answer<T>: Send + 'static {
    fn answer(self, result: Result<T, Errno>);
}

macro_rules! answers {
    ($($reply:ty, $value:ty, $($of:pat_param)? => $ok:ident($($argument:expr),*);)*) => {
        $(impl Answer<$value> for $reply {
            fn answer(self, result: Result<$value, Errno>) {
                match result {
                    Ok($($of)?) => self.$ok($($argument),*),
                    Err(error) => self.error(error),
                }
            }
        })*
    };
}

answers! {
    ReplyEmpty, (), _done => ok();
    ReplyEntry, FileAttr, attr => entry(&NEVER, &attr, Generation(0));
    ReplyAttr, FileAttr, attr => attr(&NEVER, &attr);
    ReplyData, Vec<u8>, bytes => data(&bytes);
    ReplyOpen, u64, mount => opened(FileHandle(mount), FopenFlags::FOPEN_DIRECT_IO);
    ReplyWrite, u32, bytes => written(bytes);
    ReplyStatfs, (u64, u64), (all, free) => statfs(all, free, free, 1 << 20, 1 << 19, BLOCK as u32, 255, BLOCK as u32);
    ReplyCreate, (FileAttr, u64), (attr, mount) =>
        created(&NEVER, &attr, Generation(0), FileHandle(mount), FopenFlags::FOPEN_DIRECT_IO);
    ReplyDirectory, (), _done => ok();
}

impl Faulty {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    /// Does what is asked of the file that the kernel knows as `number`, or what its fault is. What
    /// is to be done gets the share of its bytes that a write is to take.
    fn go<T: 'static, R: Answer<T>>(
        &self,
        op: Op,
        number: INodeNo,
        reply: R,
        work: impl FnOnce(&mut Store, bool) -> Result<T, Errno> + Send + 'static,
    ) {
        let mut store = self.store();
        let Some(fault) = store.fault(number.0, op) else {
            let result = work(&mut store, false);
            return reply.answer(result);
        };
        let error = Errno::from_i32(fault.errno);
        match fault.how {
            How::Fails => reply.answer(Err(error)),
            How::DoneButFails => {
                let _ = work(&mut store, false);
                reply.answer(Err(error));
            }
            How::Short => {
                let result = work(&mut store, true);
                reply.answer(result);
            }
            How::Hangs => store.held.push_back(Box::new(|store| reply.answer(work(store, false)))),
        }
    }
}

fn attr(store: &mut Store, number: u64) -> Result<FileAttr, Errno> {
    let node = store.node(number)?;
    let time = node.modified;
    let kind = if matches!(node.what, What::Dir { .. }) { FileType::Directory } else { FileType::RegularFile };
    Ok(FileAttr {
        ino: INodeNo(number),
        size: node.len(),
        blocks: node.space() / 512,
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm: (node.mode & 0o7777) as u16,
        nlink: node.links,
        uid: node.owner.0,
        gid: node.owner.1,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    })
}

/// A handle of an earlier mount leads nowhere.
fn fresh(store: &mut Store, number: u64, handle: FileHandle) -> Result<(), Errno> {
    if store.disk(number).mount == handle.0 { Ok(()) } else { Err(Errno::ESTALE) }
}

fn owner(request: &Request) -> (u32, u32) {
    (request.uid(), request.gid())
}

impl Filesystem for Faulty {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let _ = config.set_max_write(128 << 10);
        Ok(())
    }

    fn lookup(&self, _: &Request, dir: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.to_owned();
        self.go(Op::Lookup, dir, reply, move |store, _| {
            let number = store.lookup(dir.0, &name)?;
            attr(store, number)
        });
    }

    fn getattr(&self, _: &Request, number: INodeNo, handle: Option<FileHandle>, reply: ReplyAttr) {
        self.go(Op::Getattr, number, reply, move |store, _| {
            handle.map_or(Ok(()), |handle| fresh(store, number.0, handle))?;
            attr(store, number.0)
        });
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let op = if size.is_some() { Op::Truncate } else { Op::Getattr };
        self.go(op, number, reply, move |store, _| {
            handle.map_or(Ok(()), |handle| fresh(store, number.0, handle))?;
            if let Some(size) = size {
                store.truncate(number.0, size)?;
            }
            let node = store.node(number.0)?;
            node.mode = mode.unwrap_or(node.mode);
            node.owner = (uid.unwrap_or(node.owner.0), gid.unwrap_or(node.owner.1));
            match modified {
                Some(TimeOrNow::SpecificTime(time)) => node.modified = time,
                Some(TimeOrNow::Now) => node.modified = SystemTime::now(),
                None => {}
            }
            attr(store, number.0)
        });
    }

    fn mkdir(&self, request: &Request, dir: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let (name, owner) = (name.to_owned(), owner(request));
        self.go(Op::Create, dir, reply, move |store, _| {
            let number = store.make_dir(dir.0, name, mode & !umask, owner)?;
            attr(store, number)
        });
    }

    fn unlink(&self, _: &Request, dir: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.go(Op::Unlink, dir, reply, move |store, _| store.unlink(dir.0, &name));
    }

    fn rmdir(&self, _: &Request, dir: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.go(Op::Unlink, dir, reply, move |store, _| store.remove_dir(dir.0, &name));
    }

    fn rename(
        &self,
        _: &Request,
        dir: INodeNo,
        name: &OsStr,
        new_dir: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (name, new_name): (OsString, OsString) = (name.to_owned(), new_name.to_owned());
        let may_replace = !flags.contains(RenameFlags::RENAME_NOREPLACE);
        self.go(Op::Rename, dir, reply, move |store, _| {
            store.rename((dir.0, &name), (new_dir.0, new_name), may_replace)
        });
    }

    fn link(&self, _: &Request, number: INodeNo, dir: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.to_owned();
        self.go(Op::Link, number, reply, move |store, _| {
            let number = store.link(number.0, dir.0, name)?;
            attr(store, number)
        });
    }

    fn create(&self, request: &Request, dir: INodeNo, name: &OsStr, mode: u32, umask: u32, _: i32, reply: ReplyCreate) {
        let (name, owner) = (name.to_owned(), owner(request));
        self.go(Op::Create, dir, reply, move |store, _| {
            let number = store.create(dir.0, name, mode & !umask, owner)?;
            Ok((attr(store, number)?, store.disk(number).mount))
        });
    }

    fn open(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.go(Op::Open, number, reply, move |store, _| Ok(store.disk(number.0).mount));
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        at: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.go(Op::Read, number, reply, move |store, _| {
            fresh(store, number.0, handle)?;
            let bytes = store.node(number.0)?.bytes()?;
            let start = bytes.len().min(at as usize);
            let end = bytes.len().min(start + size as usize);
            Ok(bytes[start..end].to_vec())
        });
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        at: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let data = data.to_vec();
        self.go(Op::Write, number, reply, move |store, is_short| {
            fresh(store, number.0, handle)?;
            let data = if is_short { &data[..data.len() / 2] } else { &data[..] };
            store.write(number.0, at, data)
        });
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, number: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        self.go(Op::Fsync, number, reply, move |store, _| {
            fresh(store, number.0, handle)?;
            store.sync(number.0)
        });
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.go(Op::Fsync, number, reply, move |store, _| {
            store.commit(number.0);
            Ok(())
        });
    }

    fn readdir(&self, _: &Request, dir: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let mut store = self.store();
        let Ok(names) = store.names(dir.0) else { return reply.error(Errno::ENOTDIR) };
        let names: Vec<_> = names.iter().map(|(name, is)| (name.clone(), is.known_as)).collect();
        for (place, (name, number)) in (1..).zip(&names).skip(offset as usize) {
            let is_dir = store.node(*number).is_ok_and(|node| matches!(node.what, What::Dir { .. }));
            let kind = if is_dir { FileType::Directory } else { FileType::RegularFile };
            if reply.add(INodeNo(*number), place, kind, name) {
                break;
            }
        }
        drop(store);
        self.go(Op::Readdir, dir, reply, |_, _| Ok(()));
    }

    fn statfs(&self, _: &Request, number: INodeNo, reply: ReplyStatfs) {
        self.go(Op::Statfs, number, reply, move |store, _| {
            let free = store.shown_free(number.0);
            Ok((store.disk(number.0).capacity / BLOCK, free / BLOCK))
        });
    }

    fn fallocate(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        at: u64,
        len: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        self.go(Op::Fallocate, number, reply, move |store, _| {
            fresh(store, number.0, handle)?;
            store.allocate(number.0, at + len)
        });
    }
}

/// Whether a file system can be served here; if not, why.
pub(crate) fn can() -> Result<(), String> {
    let device = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    device.map(|_| ()).map_err(|error| format!("/dev/fuse: {error}"))
}
