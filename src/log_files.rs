//! Lists the files of a logger as they lie on the disk: for a program that shows or ships its own
//! logs. Any thread; waits for the disk.

use std::fs;
use std::path::{Path, PathBuf};

use crate::disk;
use crate::sink::file::archive_name::Names;

/// The paths of the files that the outputs write to.
#[derive(Default)]
pub(crate) struct LogFiles(Vec<PathBuf>);

impl LogFiles {
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        Self(paths)
    }

    /// Returns each active file that is there, and after it its archives, the newest first.
    pub(crate) fn list(&self) -> Vec<PathBuf> {
        let mut listed = Vec::new();
        for path in &self.0 {
            listed.extend(fs::metadata(path).is_ok().then(|| path.clone()));
            // Where a symbolic link was followed, the archives are next to the real file.
            listed.extend(archives(&disk::really_at(path)));
        }
        listed
    }
}

fn archives(active: &Path) -> Vec<PathBuf> {
    let (Some(directory), Some(name)) = (active.parent(), active.file_name()) else { return Vec::new() };
    let names = Names::new(name);
    // A directory that cannot be read has nothing to list.
    let listed = disk::list_ours(active, &|name| names.parse(name).is_some()).unwrap_or_default();
    let mut archives: Vec<_> =
        listed.into_iter().filter_map(|name| Some((names.parse(&name)?, directory.join(name)))).collect();
    archives.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
    // Of an archive in both forms, as a kill leaves them, the plain one: it is after the other.
    archives.dedup_by(|(plain, plain_path), (form, path)| {
        let is_one = plain.compressed() == *form;
        if is_one {
            std::mem::swap(plain_path, path);
        }
        is_one
    });
    archives.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_active_file_comes_first_then_its_archives_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "app.2026-11-21T09-30-00-0000.log",
            "app.2026-11-22T09-30-00-0000.log.gz",
            "app.2026-11-22T09-30-00-0001.log",
            "app.2026-11-22T09-30-00-0001.log.gz",
            "app.log",
            "app.2026-11-22.log",
            "other.2026-11-22T09-30-00-0001.log",
        ] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        let files = LogFiles::new(vec![dir.path().join("app.log"), dir.path().join("missing.log")]);
        let names: Vec<_> = files.list().iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(
            names,
            [
                "app.log",
                "app.2026-11-22T09-30-00-0001.log",
                "app.2026-11-22T09-30-00-0000.log.gz",
                "app.2026-11-21T09-30-00-0000.log"
            ]
        );
    }
}
