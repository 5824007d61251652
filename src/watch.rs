//! `Watch`: checks about once a second whether a configuration file has changed. Runs on the
//! writer's thread.
//!
//! A look reads the whole file: that needs no service of the system, works on every file system,
//! and does not depend on the resolution of its times.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::disk;
use crate::error::write_with_sources;
use crate::record::Notice;
use crate::sync::swap::ArcSwap;

/// The file is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A larger file is no configuration.
const LARGEST: u64 = 1 << 20;

/// Does what a text says, and returns what is to be reported of it; or does nothing at all.
pub(crate) type Follow = Arc<dyn Fn(&str) -> Result<Option<Notice>, Box<dyn Error + Send + Sync>> + Send + Sync>;

/// Why the file cannot be read.
type Unreadable = (io::ErrorKind, String);

/// The text of the file, or why it cannot be read.
pub(crate) type Contents = Result<Vec<u8>, Unreadable>;

/// What the last changes were.
#[derive(Clone, Default)]
struct KnownFile {
    /// The last text, whether it could be followed or not. A file that cannot be read for a while
    /// has not changed.
    text: Option<Vec<u8>>,
    /// Why the file cannot be read, as long as it cannot.
    unreadable: Option<Unreadable>,
}

impl KnownFile {
    fn is(&self, contents: &Contents) -> bool {
        match contents {
            Ok(text) => self.text.as_ref() == Some(text),
            Err(why) => self.unreadable.as_ref() == Some(why),
        }
    }

    fn learn(&mut self, contents: Contents) {
        match contents {
            Ok(text) => *self = Self { text: Some(text), unreadable: None },
            Err(why) => self.unreadable = Some(why),
        }
    }
}

/// A file, and what is to be done with its changes.
#[derive(Clone)]
pub(crate) struct Watch {
    path: PathBuf,
    /// Written by the writer. All clones have it in common, so that a forked child, whose writer
    /// gets a clone of the first watch, knows what its parent knew at the fork. Without a lock,
    /// which a thread that the child does not have could hold.
    known: Arc<ArcSwap<KnownFile>>,
    /// What the last look found. It is a change if the next look finds it, too: an editor may be
    /// in the middle of the file.
    found: Option<Contents>,
    look_at: Option<Instant>,
    follow: Follow,
}

/// A change that could not be followed.
pub(crate) struct NotFollowed {
    /// What was being done.
    pub(crate) doing: &'static str,
    pub(crate) error: io::Error,
}

impl Watch {
    /// Reads the file, which the program has already followed.
    pub(crate) fn new(path: PathBuf, follow: Follow) -> Self {
        let mut known = KnownFile::default();
        known.learn(contents(&path));
        Self { path, known: Arc::new(ArcSwap::from_pointee(known)), found: None, look_at: None, follow }
    }

    /// Returns what is in the file if it has changed, and if it is time to look.
    pub(crate) fn look(&mut self, now: Instant) -> Option<Contents> {
        if self.look_at.is_some_and(|at| now < at) {
            return None;
        }
        self.look_at = Some(now + LOOK_EVERY);
        let contents = contents(&self.path);
        let known = self.known.load();
        if known.is(&contents) {
            self.found = None;
            if contents.is_ok() && known.unreadable.is_some() {
                self.learn(contents);
            }
            return None;
        }
        drop(known);
        if self.found.as_ref() != Some(&contents) {
            self.found = Some(contents);
            return None;
        }
        self.found.take()
    }

    /// Follows what a look has found. Returns what is to be reported of it.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or the program's code refuses what is in it. Then nothing has
    /// changed.
    pub(crate) fn follow(&self, found: &Contents) -> Result<Option<Notice>, NotFollowed> {
        let wrong = |doing, kind, why: &dyn std::fmt::Display| {
            let error = io::Error::new(kind, format!("`{}`: {why}", self.path.display()));
            Err(NotFollowed { doing, error })
        };
        let bad = |why: &dyn std::fmt::Display| wrong("follow the configuration", io::ErrorKind::InvalidData, why);
        match found {
            Err((kind, why)) => wrong("read the configuration", *kind, why),
            Ok(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => (self.follow)(text).or_else(|error| {
                    let mut why = String::new();
                    let _ = write_with_sources(&mut why, &*error); // A `String` takes everything.
                    bad(&why)
                }),
                Err(error) => bad(&error),
            },
        }
    }

    /// Remembers what a look has found, which is no change any more. Called after the attempt to
    /// follow it.
    pub(crate) fn learn(&self, found: Contents) {
        let before = self.known.load_full();
        let mut known = KnownFile::clone(&before);
        known.learn(found);
        // Nobody else writes it.
        drop(self.known.compare_and_swap(&before, Arc::new(known)));
    }
}

fn contents(path: &std::path::Path) -> Contents {
    disk::read_file(path, LARGEST).map_err(|error| (error.kind(), error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Mutex;

    use super::*;

    /// A watch on `log.filter`, the texts that it was given, and looks one second apart.
    struct Bench {
        dir: tempfile::TempDir,
        watch: Watch,
        texts: Arc<Mutex<Vec<String>>>,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("log.filter"), "info").unwrap();
            let texts = Arc::new(Mutex::new(Vec::new()));
            let followed = texts.clone();
            let follow: Follow = Arc::new(move |text| match text {
                "bad" => Err("no such level".into()),
                text => {
                    followed.lock().unwrap().push(text.to_owned());
                    Ok(None)
                }
            });
            let watch = Watch::new(dir.path().join("log.filter"), follow);
            Self { dir, watch, texts, now: Instant::now() }
        }

        fn path(&self) -> PathBuf {
            self.dir.path().join("log.filter")
        }

        /// Looks a few times. Returns the errors.
        fn look(&mut self, times: usize) -> Vec<String> {
            let mut errors = Vec::new();
            for _ in 0..times {
                self.now += LOOK_EVERY;
                let Some(found) = self.watch.look(self.now) else { continue };
                let followed = self.watch.follow(&found);
                self.watch.learn(found);
                if let Err(NotFollowed { doing, error }) = followed {
                    assert_eq!(doing == "read the configuration", error.kind() != io::ErrorKind::InvalidData);
                    errors.push(error.to_string().replace(&self.path().display().to_string(), "log.filter"));
                }
            }
            errors
        }

        fn texts(&self) -> Vec<String> {
            std::mem::take(&mut self.texts.lock().unwrap())
        }
    }

    #[test]
    fn a_change_is_followed_once_when_a_second_look_finds_the_same() {
        let mut bench = Bench::new();
        assert_eq!(bench.look(3), [""; 0]);
        assert_eq!(bench.texts(), [""; 0], "what stood there first is the program's");
        // In place: emptied, then written, with looks in between.
        fs::write(bench.path(), "").unwrap();
        bench.look(1);
        fs::write(bench.path(), "debug").unwrap();
        bench.look(1);
        assert_eq!(bench.texts(), [""; 0]);
        bench.look(3);
        assert_eq!(bench.texts(), ["debug"]);
        // By another file of the same length and the same time.
        let modified = fs::metadata(bench.path()).unwrap().modified().unwrap();
        fs::write(bench.dir.path().join("new"), "trace").unwrap();
        let new = fs::File::options().write(true).open(bench.dir.path().join("new")).unwrap();
        new.set_modified(modified).unwrap();
        fs::rename(bench.dir.path().join("new"), bench.path()).unwrap();
        bench.look(3);
        assert_eq!(bench.texts(), ["trace"]);
    }

    #[test]
    fn a_look_before_its_time_reads_nothing() {
        let mut bench = Bench::new();
        bench.look(1);
        fs::write(bench.path(), "debug").unwrap();
        for _ in 0..5 {
            assert!(bench.watch.look(bench.now).is_none());
        }
        bench.look(2);
        assert_eq!(bench.texts(), ["debug"]);
    }

    #[test]
    fn a_file_that_is_bad_or_not_there_is_reported_once() {
        let mut bench = Bench::new();
        fs::write(bench.path(), "bad").unwrap();
        assert_eq!(bench.look(5), ["`log.filter`: no such level"]);
        fs::write(bench.path(), b"info\xff").unwrap();
        let error = &bench.look(5)[..];
        assert!(matches!(error, [error] if error.starts_with("`log.filter`: invalid utf-8")), "{error:?}");
        fs::remove_file(bench.path()).unwrap();
        assert_eq!(bench.look(5).len(), 1);
        fs::create_dir(bench.path()).unwrap();
        assert_eq!(bench.look(5).len(), 1);
        fs::remove_dir(bench.path()).unwrap();
        fs::write(bench.path(), vec![b' '; 1 + LARGEST as usize]).unwrap();
        assert_eq!(bench.look(5), ["`log.filter`: too large"]);
        assert_eq!(bench.texts(), [""; 0]);
        fs::write(bench.path(), "info").unwrap();
        assert_eq!(bench.look(5), [""; 0]);
        assert_eq!(bench.texts(), ["info"], "it is good again");
    }

    /// A child once followed an unchanged file, over what its parent had set since.
    #[test]
    fn a_forked_child_knows_what_its_parent_has_followed_refused_or_reported() {
        for (text, texts, errors) in [(Some("warn"), &["warn"][..], 0), (Some("bad"), &[], 1), (None, &[], 1)] {
            let mut bench = Bench::new();
            let planned = bench.watch.clone();
            match text {
                Some(text) => fs::write(bench.path(), text).unwrap(),
                None => fs::remove_file(bench.path()).unwrap(),
            }
            assert_eq!(bench.look(3).len(), errors);
            assert_eq!(bench.texts(), texts);
            bench.watch = planned;
            assert_eq!(bench.look(3), [""; 0], "{text:?}");
            assert_eq!(bench.texts(), [""; 0], "{text:?}");
            fs::write(bench.path(), "debug").unwrap();
            bench.look(3);
            assert_eq!(bench.texts(), ["debug"]);
        }
    }

    #[test]
    fn a_file_that_can_be_read_again_and_says_the_same_changes_nothing() {
        let mut bench = Bench::new();
        let away = bench.dir.path().join("away");
        for looks in [1, 5, 5] {
            fs::rename(bench.path(), &away).unwrap();
            assert_eq!(bench.look(looks).len(), usize::from(looks > 1), "each failure is reported once");
            fs::rename(&away, bench.path()).unwrap();
            assert_eq!(bench.look(5), [""; 0]);
            assert_eq!(bench.texts(), [""; 0]);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_fifo_in_the_place_of_the_file_stops_nobody() {
        let mut bench = Bench::new();
        fs::remove_file(bench.path()).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(bench.path()).status().unwrap().success());
        assert_eq!(bench.look(5), ["`log.filter`: not a regular file"]);
    }
}
