//! Files for years: a log that is rotated by size and by day, keeps to its limits, and rotates when
//! it is asked to.
//!
//! `cargo run --example rotation`, or with `--features gzip` to see the archives compressed. It
//! logs into a temporary directory and shows what is in it after each step.

#![allow(clippy::print_stdout)] // an example shows what it does

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;

use unfazed::{Builder, Event, KIB, LogFile, Rotation, WhenLow};

const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("app.log");

    let file = LogFile::new(&path)
        // With the first record of a local day, and before the file would be longer than 20 KiB.
        .rotation(Rotation::daily().local_time().or_size(20 * KIB))
        // At most five files in all, and 70 KiB together. The oldest go.
        .max_files(5)
        .max_total_size(70 * KIB)
        // Before the log stops for want of room, its own history may go. Without this line it never
        // does.
        .when_low(WhenLow::DeleteOldest)
        // `current` always leads to the active file.
        .symlink(dir.path().join("current"));
    #[cfg(feature = "gzip")]
    let file = file.compress(true);

    let handle = Builder::new()
        .file(file)
        .on_event(|event| match event {
            Event::Rotated { archive, .. } => println!("  rotated: {}", name(archive)),
            Event::Deleted { path, bytes, .. } => println!("  deleted: {} ({bytes} bytes)", name(path)),
            other => println!("  {other:?}"),
        })
        .init()?;

    println!("1500 records, of about 100 bytes each:");
    for number in 0..1500 {
        log::info!("record {number} of a long day, with some text so that files are rotated");
        if number % 100 == 99 {
            handle.flush(PATIENCE)?;
        }
    }
    show(dir.path())?;

    println!("\nand once more because the program asks for it, as on SIGHUP:");
    handle.rotate();
    handle.flush(PATIENCE)?;
    log::info!("the first record of a new file");
    handle.flush(PATIENCE)?;
    #[cfg(feature = "gzip")]
    std::thread::sleep(Duration::from_secs(1)); // Compressed archives come a moment later.
    show(dir.path())?;

    let last = fs::read_to_string(&path)?;
    println!("\napp.log: {last}");
    assert!(last.ends_with("the first record of a new file\n"));
    handle.shutdown(PATIENCE)?;
    Ok(())
}

/// The directory, sorted by name; for the archives that is by age.
fn show(dir: &Path) -> std::io::Result<()> {
    let mut entries = fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    println!();
    for entry in entries {
        // The file may have been compressed or deleted since the directory was listed.
        let Ok(metadata) = entry.metadata() else { continue };
        let what = if metadata.is_symlink() { "a link".to_owned() } else { format!("{} bytes", metadata.len()) };
        println!("  {:<42} {what}", name(&entry.path()));
    }
    Ok(())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
