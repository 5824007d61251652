//! Chooses which archive is compressed next. A thread of the disk does the work. Runs on the
//! writer's thread.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::time::{Duration, Instant};

use crate::disk::{Compression, Dir as _, Disk};
use crate::sink::News;

use crate::sink::file::archive_name::Archive;
use crate::sink::file::open_file::OpenFile;

use super::known::{Found, KnownArchives};
use super::{Archives, List, dir_of};

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
    failed: BTreeSet<Archive>,
    /// The archives whose compressed form's name is taken by something else.
    name_taken: BTreeSet<Archive>,
    /// All archives up to this one are compressed, or wait for another look.
    up_to: Option<Archive>,
}

impl Compressor {
    pub(in crate::sink::file) fn new(enabled: bool) -> Self {
        let (failed, name_taken) = (BTreeSet::new(), BTreeSet::new());
        Self { enabled, current: None, next_at: None, failed, name_taken, up_to: None }
    }

    pub(in crate::sink::file) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Returns whether this is the name of a compressed archive that is not whole yet.
    pub(in crate::sink::file) fn is_making(&self, name: &OsStr) -> bool {
        self.current.as_ref().is_some_and(|(_, making)| making == name)
    }

    /// Takes the result of the last compression. Returns the archive that is compressed now.
    fn settle(&mut self, result: io::Result<bool>, now: Instant, news: &mut Vec<News>) -> Option<Archive> {
        let archive = self.current.take().map(|(archive, _)| archive);
        match result {
            Ok(true) => return archive,
            Ok(false) => (self.up_to, self.next_at) = (None, Some(now + COMPRESS_AGAIN)),
            // It is not to be compressed now; the others are.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.failed.extend(archive);
                self.next_at = None;
            }
            Err(error) => {
                let is_taken = error.kind() == io::ErrorKind::AlreadyExists;
                news.push(News::Failed { doing: "compress an archive", error });
                // The others get their turn first.
                let aside = if is_taken { &mut self.name_taken } else { &mut self.failed };
                aside.extend(archive);
                self.next_at = None;
            }
        }
        None
    }

    /// Forgets archives that the new list does not have.
    pub(super) fn forget_missing(&mut self, known: &KnownArchives) {
        self.failed.retain(|aside| known.contains(*aside));
        self.name_taken.retain(|aside| known.contains(*aside));
        self.up_to = None;
    }

    /// Chooses the oldest archive that is plain. The newest stays plain, for agents that still read
    /// it, unless it is compressed and only its plain form has to go.
    fn choose<'a>(&mut self, known: &'a KnownArchives) -> Option<&'a Found> {
        let stay = known.stay();
        let newest = stay.back().filter(|newest| newest.compressed_form.is_none()).map(|newest| newest.archive);
        let from = self.up_to.map_or(0, |up_to| known.place_after(up_to));
        let next = stay.range(from..).find(|found| {
            let archive = found.archive;
            let is_aside = self.failed.contains(&archive) || self.name_taken.contains(&archive);
            !archive.compressed && Some(archive) != newest && !is_aside
        });
        self.up_to = next.map(|next| next.archive);
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
        if !self.compressor.enabled || !matches!(self.list, List::Known(_)) {
            return;
        }
        let settled = disk.compressed().and_then(|result| self.compressor.settle(result, now, news));
        let may_begin = self.compressor.current.is_none() && self.compressor.next_at.is_none_or(|at| now >= at);
        if settled.is_none() && !may_begin {
            return;
        }
        let Ok(mut dir) = dir_of(disk, open) else { return };
        if self.is_elsewhere(&mut dir, open) {
            return;
        }
        let List::Known(known) = &mut self.list else { return }; // It goes on when all are listed.
        if let Some(archive) = settled {
            let name = self.names.name(archive.compressed());
            known.remove(archive);
            if let Ok(Some(entry)) = dir.look(&open.file, &name) {
                known.add(Found::new(archive.compressed(), entry));
            }
        }
        if !may_begin {
            return;
        }
        // A rotation makes the next archive.
        self.compressor.next_at = Some(now + COMPRESS_AGAIN);
        let Some(next) = self.compressor.choose(known) else { return };
        let (archive, to) = (next.archive, self.names.name(next.archive.compressed()));
        let unfinished = self.names.unfinished_archive(archive.compressed(), disk.random());
        let what = Compression { from: next.entry.name.clone(), unfinished: unfinished.clone(), to, leave };
        match disk.compress(&open.file, what) {
            // As soon as this one is done the next may follow.
            Ok(()) => (self.compressor.current, self.compressor.next_at) = (Some((archive, unfinished)), None),
            Err(error) => {
                self.compressor.up_to = None;
                news.push(News::Failed { doing: "compress an archive", error });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use crate::disk::Entry;

    use super::*;

    fn plain(second: i64) -> Found {
        let entry = Entry {
            name: format!("{second}").into(),
            bytes: 1,
            modified: SystemTime::UNIX_EPOCH,
            id: None,
            is_doubtful: false,
        };
        Found::new(Archive::after(None, second), entry)
    }

    /// With tens of thousands of archives, each choice looked at all that were done.
    #[test]
    fn each_choice_begins_where_the_one_before_it_ended() {
        let known = KnownArchives::new((1..=4).map(plain).collect());
        let mut compressor = Compressor::new(true);
        let mut chosen = || compressor.choose(&known).map(|found| found.archive);
        assert_eq!([(); 3].map(|()| chosen()), [1, 2, 3].map(|second| Some(Archive::after(None, second))));
        assert_eq!(chosen(), None, "the newest stays plain");
        assert_eq!(chosen(), Some(Archive::after(None, 1)), "from the oldest again");
    }
}
