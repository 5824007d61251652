//! What happens to names in a directory: links, renames, listings. Runs on the writer's thread.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::Entry;

pub(super) fn list(dir: &Path, wanted: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if !wanted(&name) {
            continue;
        }
        // Not followed. What is gone by now is not there.
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => {
                entries.push(Entry { name, bytes: metadata.len(), modified: metadata.modified()?, id: id(&metadata) });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(entries)
}

#[cfg(unix)]
pub(super) fn id(metadata: &fs::Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;

    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
pub(super) fn id(_metadata: &fs::Metadata) -> Option<(u64, u64)> {
    None
}

/// Whatever the umask says.
#[cfg(unix)]
pub(super) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
pub(super) fn set_mode(_file: &File, _mode: u32) -> io::Result<()> {
    Ok(())
}

pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;

        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // A kernel, or a file system, that does not know the flag.
            Err(Errno::NOSYS | Errno::INVAL) => {}
            other => return other.map_err(io::Error::from),
        }
    }
    // Not in one step: only who comes between the look and the renaming is not seen.
    match fs::symlink_metadata(to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
        Err(error) => Err(error),
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

#[cfg(unix)]
pub(super) fn point(link: &Path, target: &Path) -> io::Result<()> {
    // Within one directory by the name alone, so that it leads there wherever that directory is mounted.
    let target = match target.file_name() {
        Some(name) if link.parent() == target.parent() => Path::new(name),
        _ => target,
    };
    match fs::symlink_metadata(link) {
        Ok(metadata) if !metadata.is_symlink() => return Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) if fs::read_link(link)? == target => return Ok(()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return std::os::unix::fs::symlink(target, link);
        }
        Err(error) => return Err(error),
    }
    // In one step: nobody finds the link missing.
    let mut name = std::ffi::OsString::from(".");
    name.push(link.file_name().unwrap_or_default());
    name.push(".new");
    let new = link.with_file_name(name);
    match std::os::unix::fs::symlink(target, &new) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Left over; but only if it is what would have been made.
            if !fs::symlink_metadata(&new)?.is_symlink() {
                return Err(error);
            }
            fs::remove_file(&new)?;
            std::os::unix::fs::symlink(target, &new)?;
        }
        other => other?,
    }
    fs::rename(&new, link)
}

#[cfg(not(unix))]
pub(super) fn point(_link: &Path, _target: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn whatever_stands_at_a_name_is_not_renamed_over() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::write(&from, "from").unwrap();
        let stand: [fn(&Path); 3] = [
            |to| fs::write(to, "to").unwrap(),
            |to| fs::create_dir(to).unwrap(),
            |to| std::os::unix::fs::symlink("/nowhere", to).unwrap(),
        ];
        for (case, stand) in stand.into_iter().enumerate() {
            stand(&to);
            let error = rename_new(&from, &to).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "case {case}");
            assert_eq!(fs::read_to_string(&from).unwrap(), "from");
            fs::remove_file(&to).or_else(|_| fs::remove_dir(&to)).unwrap();
        }
        rename_new(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "from");
        assert!(!from.exists());
    }

    #[test]
    fn only_regular_files_are_listed_and_a_link_is_none() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "12345").unwrap();
        fs::write(dir.path().join("other"), "").unwrap();
        fs::create_dir(dir.path().join("a directory")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("file"), dir.path().join("a link")).unwrap();
        let listed = list(dir.path(), &|name| name != "other").unwrap();
        assert_eq!(
            listed.iter().map(|entry| (entry.name.as_os_str(), entry.bytes)).collect::<Vec<_>>(),
            [("file".as_ref(), 5)]
        );
        assert_eq!(listed[0].id, id(&fs::metadata(dir.path().join("file")).unwrap()));
    }
}
