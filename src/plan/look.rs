//! `Look`: the checks of the outputs that ask the file system. Runs on the writer's thread before
//! the outputs are opened, because a file system that hangs must not stop the thread that sets the
//! logger up.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk;
use crate::error::InitError;
use crate::sink::log_file::FileOptions;

use super::outputs::SYMLINK;
use super::{Destination, PlannedOutput, rights};

/// What the look found out about one output: the paths that are missing, or why it can never work.
pub(super) type Looked = Result<Vec<Missing>, InitError>;

/// The outputs whose paths the writer's thread looks at.
pub(crate) struct Look {
    outputs: Vec<PlannedOutput>,
    /// The paths that are missing are wanted.
    notes_missing: bool,
}

/// A path at which there was nothing.
pub(super) struct Missing {
    pub(super) path: PathBuf,
    /// The user that it is given to if it is created; `None`: the process's own.
    pub(super) owner: Option<u32>,
}

impl Look {
    pub(crate) fn new(outputs: &[PlannedOutput], notes_missing: bool) -> Self {
        Self { outputs: outputs.to_vec(), notes_missing }
    }

    /// Makes a look at nothing, for a forked child, because the parent has looked.
    pub(super) fn skipped() -> Self {
        Self { outputs: Vec::new(), notes_missing: false }
    }

    /// Looks at the outputs in their order, and answers for each of them, up to one that can never
    /// work: whoever waits for the thread then must not wait for the file system of the next.
    pub(super) fn run(&self, answer: impl Fn(Looked)) {
        for place in 0..self.outputs.len() {
            let looked = self.look_at(place);
            let is_last = looked.is_err();
            answer(looked);
            if is_last {
                return;
            }
        }
    }

    /// Returns an error if one of the outputs can never work.
    pub(crate) fn check_all(&self) -> Result<(), InitError> {
        (0..self.outputs.len()).try_for_each(|place| self.look_at(place).map(drop))
    }

    fn look_at(&self, place: usize) -> Looked {
        match &self.outputs[place].destination {
            Destination::File { path, options } => {
                self.check(place, path, options).map(|()| self.missing(path, options))
            }
            _ => Ok(Vec::new()),
        }
    }

    fn check(&self, place: usize, path: &Path, options: &FileOptions) -> Result<(), InitError> {
        let link = options.symlink.as_deref().map(|link| (link, SYMLINK));
        for (path, option) in [(path, "file")].into_iter().chain(link) {
            if let Some(what) = disk::unfit(path) {
                return Err(InitError::Path { path: path.to_owned(), what, option });
            }
        }
        let (length, limit) = disk::name_length(path);
        let (option, at_most) = options.longest_name(limit);
        if length > at_most {
            return Err(InitError::NameTooLong { path: path.to_owned(), option, length, at_most });
        }
        let is_one = |other: &PlannedOutput| match &other.destination {
            Destination::File { path: other, .. } => disk::same_file(other, path),
            _ => false,
        };
        match self.outputs[..place].iter().any(is_one) {
            true => Err(InitError::SamePath { path: path.to_owned(), option: "file" }),
            false => Ok(()),
        }
    }

    fn missing(&self, path: &Path, options: &FileOptions) -> Vec<Missing> {
        if !self.notes_missing {
            return Vec::new();
        }
        let owner = rights(&options.access).owner;
        let paths = options.symlink.as_deref().into_iter().chain([path]);
        let missing = paths.flat_map(|path| path.ancestors().take_while(|path| is_missing(path)));
        missing.map(|path| Missing { path: path.to_owned(), owner }).collect()
    }
}

fn is_missing(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::RefCell;

    use crate::Format;
    use crate::sink::log_file::LogFile;
    use crate::wanted::Wanted;

    use super::super::{Filtering, OutputOptions, plan_outputs};
    use super::*;

    #[test]
    fn no_output_after_one_that_can_never_work_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let output = |path: &Path| {
            let LogFile { path, options, .. } = LogFile::new(path);
            let destination = Destination::File { path, options };
            OutputOptions { wanted: Wanted::EVERYTHING, format: None, destination, stands_in: false }
        };
        // A directory is no log file.
        let paths = [dir.path().join("one.log"), dir.path().to_owned(), dir.path().join("three.log")];
        let outputs = paths.iter().map(|path| output(path)).collect();
        let (planned, _) = plan_outputs(outputs, &Format::default(), Filtering::Fixed).unwrap();
        let answers = RefCell::new(Vec::new());
        Look::new(&planned, true).run(|looked| answers.borrow_mut().push(looked));
        let answers = answers.into_inner();
        assert!(matches!(&answers[..], [Ok(missing), Err(InitError::Path { .. })] if missing.len() == 1));
    }

    #[cfg(unix)]
    #[test]
    fn two_paths_that_lead_to_one_file_are_an_error_before_the_file_is_there_and_afterwards() {
        use std::os::unix::fs::symlink;

        use crate::Builder;

        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir(at("logs")).unwrap();
        let log = at("logs/app.log");
        symlink("logs", at("linked")).unwrap();
        symlink("logs/app.log", at("link.log")).unwrap();
        symlink(at("link.log"), at("logs/absolute.log")).unwrap();
        symlink("turning.log", at("turning.log")).unwrap();
        let paths = ["logs/../logs/app.log", "linked/app.log", "link.log", "logs/absolute.log", "linked/absolute.log"];
        for exists in [false, true] {
            if exists {
                fs::write(&log, "").unwrap();
            }
            for path in paths {
                let error = Builder::new().file(&log).file(at(path)).build().unwrap_err();
                assert!(
                    matches!(&error, InitError::SamePath { path: second, .. } if *second == at(path)),
                    "{path}: {error}"
                );
            }
            assert!(log.exists() == exists, "nothing was created");
            assert!(!disk::same_file(&log, &at("turning.log")) && !disk::same_file(&log, &at("logs/other.log")));
        }
    }
}
