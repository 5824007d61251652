//! Which archive is compressed next; the work itself is done by a thread of the disk's. Runs on the
//! writer's thread.

use std::ffi::{OsStr, OsString};
use std::io;
use std::time::{Duration, Instant};

use crate::disk::{Compression, Disk};
use crate::sink::News;

use crate::sink::file::archive_name::Archive;
use crate::sink::file::open_file::OpenFile;

use super::{Archives, Found, dir_of};

/// The time until an archive is tried again that could not be compressed.
const COMPRESS_AGAIN: Duration = Duration::from_secs(60);

/// The compressions of one file's archives.
#[derive(Debug)]
pub(in crate::sink::file) struct Compressor {
    enabled: bool,
    /// The archive that is being compressed, and its name until it is whole.
    current: Option<(Archive, OsString)>,
    /// When the next may begin; `None`: at once.
    pub(in crate::sink::file) next_at: Option<Instant>,
    /// The archives that could not be compressed, since all others were.
    failed: Vec<Archive>,
    /// The archives whose compressed form's name is taken by something else.
    name_taken: Vec<Archive>,
}

impl Compressor {
    pub(in crate::sink::file) fn new(enabled: bool) -> Self {
        Self { enabled, current: None, next_at: None, failed: Vec::new(), name_taken: Vec::new() }
    }

    pub(in crate::sink::file) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Returns whether this is the name of a compressed archive that is not whole yet.
    pub(in crate::sink::file) fn is_making(&self, name: &OsStr) -> bool {
        self.current.as_ref().is_some_and(|(_, making)| making == name)
    }

    /// Takes the result of the last compression.
    fn settle(&mut self, result: io::Result<bool>, now: Instant, news: &mut Vec<News>) {
        match result {
            Ok(true) => self.current = None,
            Ok(false) => (self.current, self.next_at) = (None, Some(now + COMPRESS_AGAIN)),
            Err(error) => {
                let is_taken = error.kind() == io::ErrorKind::AlreadyExists;
                news.push(News::Failed { doing: "compress an archive", error });
                // The others get their turn first.
                let aside = if is_taken { &mut self.name_taken } else { &mut self.failed };
                aside.extend(self.current.take().map(|(archive, _)| archive));
                self.next_at = None;
            }
        }
    }

    /// Chooses the oldest archive that is plain. The newest stays plain, for agents that still read
    /// it, unless it is compressed and only its plain form has to go.
    fn choose<'a>(&mut self, found: &'a [Found]) -> Option<&'a Found> {
        let is = |found: &Found, aside| !found.archive.compressed && found.archive.compressed() == aside;
        let is_there = |aside: &Archive| found.iter().any(|found| is(found, *aside));
        self.failed.retain(is_there);
        self.name_taken.retain(is_there);
        let (newest, older) = found.split_last().unzip();
        let older = older.into_iter().flatten();
        let next = older.chain(newest.filter(|newest| newest.compressed_form.is_some())).find(|found| {
            let compressed = found.archive.compressed();
            !found.archive.compressed && !self.failed.contains(&compressed) && !self.name_taken.contains(&compressed)
        });
        if next.is_none() {
            self.failed.clear();
        }
        next
    }
}

impl Archives {
    /// Takes the result of the last compression, and begins the next. `leave`: bytes that must stay
    /// free.
    pub(in crate::sink::file) fn compress<D: Disk>(
        &mut self,
        disk: &mut D,
        open: &mut OpenFile<D::File>,
        leave: u64,
        now: Instant,
        news: &mut Vec<News>,
    ) {
        if !self.compressor.enabled {
            return;
        }
        if let Some(result) = disk.compressed() {
            self.compressor.settle(result, now, news);
        }
        if self.compressor.current.is_some() || self.compressor.next_at.is_some_and(|at| now < at) {
            return;
        }
        let Ok(mut dir) = dir_of(disk, open) else { return };
        if self.is_elsewhere(&mut dir, open) {
            return;
        }
        // A rotation makes the next archive.
        self.compressor.next_at = Some(now + COMPRESS_AGAIN);
        let Ok(found) = self.find(&mut dir, &mut open.file) else { return }; // Retention reports it.
        let Some(next) = self.compressor.choose(&found) else { return };
        let archive = next.archive.compressed();
        let unfinished = self.names.unfinished_archive(archive, disk.random());
        let (from, to) = (next.entry.name.clone(), self.names.name(archive));
        let what = Compression { from, unfinished: unfinished.clone(), to, leave };
        match disk.compress(&open.file, what) {
            // As soon as this one is done the next may follow.
            Ok(()) => (self.compressor.current, self.compressor.next_at) = (Some((archive, unfinished)), None),
            Err(error) => news.push(News::Failed { doing: "compress an archive", error }),
        }
    }
}
