//! What becomes of a file that is rotated.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use unfazed::{Builder, Event, InitError, KIB, LogFile, Overflow, Rotation};

use crate::harness::{Load, Outcome, PATIENCE, Text, archives, end, log_files, logger, names, say};

pub(crate) fn a_year_of_rotations_keeps_to_its_limits_and_touches_nothing_else(dir: &Path) -> Outcome {
    let strangers =
        ["app.log.1", "app.2020-01-01.log", "other.2020-01-01T00-00-00-0000.log", "app.2020-01-01T00-00-00-0000.txt"];
    for name in strangers {
        fs::write(dir.join(name), "not ours").unwrap();
    }
    // A link by the name of an archive: neither it nor what it leads to is ours.
    let elsewhere = dir.join("elsewhere");
    fs::write(&elsewhere, "not ours").unwrap();
    symlink(&elsewhere, dir.join("app.2020-01-01T00-00-00-0000.log")).unwrap();
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = events.clone();
    let file = LogFile::new(dir.join("app.log")).rotation(Rotation::daily().or_size(20 * KIB)).max_files(6);
    let (logger, handle) = Builder::new()
        .file(file.min_free_space(0))
        .overflow(Overflow::Block)
        .on_event(move |event| heard.lock().unwrap().push(event.clone()))
        .build()
        .unwrap();
    let logger = Arc::new(logger);
    let load = Load::start(&logger, 3);
    load.wait_for(100);
    assert_eq!(handle.flush(PATIENCE), Ok(()));
    let (path, over) = (dir.join("app.log"), AtomicBool::new(false));
    let logged = thread::scope(|scope| {
        let absent = scope.spawn(|| {
            let mut absent = 0;
            while !over.load(Relaxed) {
                absent += u64::from(!path.exists());
            }
            absent
        });
        load.wait_for(20_000);
        let logged = load.stop();
        end(&handle, &logged);
        over.store(true, Relaxed);
        assert_eq!(absent.join().unwrap(), 0, "the active path is never absent");
        logged
    });

    let (mut rotated, mut deleted) = (Vec::new(), Vec::new());
    for event in &*events.lock().unwrap() {
        match event {
            Event::Rotated { archive, .. } => rotated.push(archive.clone()),
            Event::Deleted { path, bytes, .. } => deleted.push((path.clone(), *bytes)),
            other => panic!("{other:?}"),
        }
    }
    assert!(rotated.len() > 50, "{} rotations", rotated.len());
    assert!(rotated.is_sorted_by(|one, next| one < next), "names sort by age");
    assert!(deleted.iter().map(|(path, _)| path).eq(&rotated[..deleted.len()]), "the oldest go first");
    let there: Vec<_> = archives(dir).into_iter().filter(|path| !path.is_symlink()).collect();
    assert_eq!(there, rotated[deleted.len()..]);
    assert!(there.len() <= 5 && there.len() >= 4, "{there:?}");
    for path in &there {
        let len = fs::metadata(path).unwrap().len();
        assert!(len <= 20 * KIB && len > 19 * KIB, "{len} bytes");
    }
    let text = Text::of(
        &there
            .iter()
            .map(|path| fs::read(path).unwrap())
            .chain([fs::read(dir.join("app.log")).unwrap()])
            .collect::<Vec<_>>(),
    );
    assert!(text.fragments.is_empty());
    for (author, numbers) in &text.records {
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "author {author} has a hole");
        assert_eq!(numbers.last(), Some(&(logged[*author as usize] - 1)));
    }
    for name in strangers.iter().copied().chain(["elsewhere", "app.2020-01-01T00-00-00-0000.log"]) {
        assert_eq!(fs::read(dir.join(name)).unwrap(), b"not ours", "{name}");
    }
    assert!(names(dir).iter().all(|name| !name.starts_with('.')), "{:?}", names(dir));
    Outcome::holds()
}

pub(crate) fn files_get_the_mode_that_was_asked_for_and_a_link_leads_to_the_active_one(dir: &Path) -> Outcome {
    let path = dir.join("made/for/it/app.log");
    let link = dir.join("current.log");
    symlink("/nowhere", &link).unwrap();
    let (logger, handle) = logger(LogFile::new(&path).mode(0o666).symlink(&link));
    say(&*logger, 0, 0);
    handle.rotate();
    say(&*logger, 0, 1);
    assert_eq!(handle.flush(PATIENCE), Ok(()));
    let files = archives(path.parent().unwrap());
    assert_eq!(files.len(), 1);
    for file in files.iter().chain([&path, &link]) {
        // More than any umask leaves.
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o666, "{}", file.display());
    }
    assert_eq!(fs::read_link(&link).unwrap(), path);
    assert_eq!(fs::metadata(&link).unwrap().ino(), fs::metadata(&path).unwrap().ino(), "also after a rotation");
    end(&handle, &[2]);
    // In the same directory, which may be mounted elsewhere, by the name alone.
    let latest = path.with_file_name("latest");
    let (other, handle) = crate::harness::logger(LogFile::new(&path).symlink(&latest));
    say(&*other, 0, 2);
    end(&handle, &[1]);
    assert_eq!(fs::read_link(&latest).unwrap(), Path::new("app.log"));
    assert_eq!(fs::metadata(&latest).unwrap().ino(), fs::metadata(&path).unwrap().ino());
    // What is no link stays.
    let taken = dir.join("taken");
    fs::write(&taken, "somebody's").unwrap();
    let (other, handle) = crate::harness::logger(LogFile::new(&path).symlink(&taken));
    say(&*other, 0, 0);
    end(&handle, &[1]);
    assert_eq!(fs::read(&taken).unwrap(), b"somebody's");
    let why = format!("failed to link times=1 error=\"`{}` is not a symbolic link\"", taken.display());
    assert!(fs::read_to_string(&path).unwrap().contains(&why), "{why}");
    assert_eq!(handle.stats().outputs[0].failures, 1);
    Outcome::holds()
}

pub(crate) fn a_link_to_the_file_is_followed_and_stays(dir: &Path) -> Outcome {
    let (there, here) = (dir.join("there"), dir.join("here"));
    fs::create_dir(&there).unwrap();
    fs::create_dir(&here).unwrap();
    fs::write(there.join("app.log"), "").unwrap();
    symlink(there.join("app.log"), here.join("service.log")).unwrap();
    let (logger, handle) = logger(LogFile::new(here.join("service.log")).rotation(Rotation::size(2000)));
    for n in 0..200 {
        say(&*logger, 0, n);
    }
    end(&handle, &[200]);
    assert_eq!(names(&here), ["service.log"], "nothing is rotated next to the link");
    assert!(here.join("service.log").is_symlink());
    assert!(archives(&there).len() > 5);
    Text::of(&log_files(&there)).assert_complete(&[200]);
    Outcome::holds()
}

pub(crate) fn options_out_of_range_are_named(dir: &Path) -> Outcome {
    let file = || LogFile::new(dir.join("app.log"));
    let cases = [
        (file().rotation(Rotation::size(0)), "rotation"),
        (file().rotation(Rotation::daily().or_size(0)), "rotation"),
        (file().max_files(0), "max_files"),
        (file().max_total_size(0), "max_total_size"),
        (file().max_age(Duration::ZERO), "max_age"),
        (file().error_reserve(u64::MAX), "error_reserve"),
        (file().retain((1 << 30) + 1), "retain"),
        (file().mode(0o444), "mode"),
        (file().mode(0o10666), "mode"),
    ];
    for (file, name) in cases {
        match Builder::new().file(file).build() {
            Err(InitError::Option { option, .. }) => assert_eq!(option, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert!(names(dir).is_empty(), "nothing is left behind");
    Outcome::holds()
}

/// One byte less, and every archive finds room for its name.
pub(crate) fn a_name_that_is_too_long_for_an_archive_is_named(dir: &Path) -> Outcome {
    let file = |length: usize| LogFile::new(dir.join(format!("{}.log", "n".repeat(length - 4))));
    let rotating = |length| file(length).rotation(Rotation::size(1000));
    let too_long: [(LogFile, (&str, usize)); 4] = [
        (file(256), ("file", 255)),
        (rotating(231), ("rotation", 230)),
        #[cfg(feature = "gzip")]
        (rotating(214).compress(true), ("compress", 213)),
        #[cfg(not(feature = "gzip"))]
        (rotating(300), ("rotation", 230)),
        {
            symlink(dir.join("n".repeat(240)), dir.join("short.log")).unwrap();
            fs::write(dir.join("n".repeat(240)), "").unwrap();
            (LogFile::new(dir.join("short.log")).rotation(Rotation::daily()), ("rotation", 230))
        },
    ];
    for (file, expected) in too_long {
        match Builder::new().file(file).build() {
            Err(error @ InitError::NameTooLong { option, at_most, .. }) => {
                assert_eq!((option, at_most), expected, "{error}");
            }
            other => panic!("{expected:?}: {other:?}"),
        }
    }
    fs::remove_file(dir.join("short.log")).unwrap();
    fs::remove_file(dir.join("n".repeat(240))).unwrap();
    assert!(names(dir).is_empty(), "nothing is left behind");
    // The longest that may be.
    for (file, rotates) in [(file(255), false), (rotating(230), true)] {
        let (logger, handle) = logger(file);
        for n in 0..30 {
            say(&*logger, 0, n);
        }
        end(&handle, &[30]);
        assert_eq!(names(dir).len() > 1, rotates, "{:?}", names(dir));
        names(dir).iter().for_each(|name| fs::remove_file(dir.join(name)).unwrap());
    }
    Outcome::holds()
}

pub(crate) fn a_start_puts_the_old_file_aside(dir: &Path) -> Outcome {
    let mut n = 0;
    for start in 0..4 {
        let (logger, handle) = logger(LogFile::new(dir.join("app.log")).rotation(Rotation::never().on_start()));
        for _ in 0..10 {
            say(&*logger, 0, n);
            n += 1;
        }
        end(&handle, &[10]);
        assert_eq!(archives(dir).len(), start);
    }
    Text::of(&log_files(dir)).assert_complete(&[n]);
    Outcome::holds()
}

/// The blocks that a start takes and an end gives back once made the file look as if it had been
/// written then, and the day's rotation did not come.
pub(crate) fn a_start_without_a_record_and_a_reopen_leave_the_files_day_as_it_is(dir: &Path) -> Outcome {
    let path = dir.join("app.log");
    let daily = || LogFile::new(&path).rotation(Rotation::daily());
    {
        let (logger, handle) = logger(daily());
        say(&*logger, 0, 0);
        end(&handle, &[1]);
    }
    let last_written = SystemTime::now() - Duration::from_secs(36 * 3600);
    fs::File::options().append(true).open(&path).unwrap().set_modified(last_written).unwrap();
    end(&logger(daily()).1, &[0]);
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), last_written);
    let (logger, handle) = logger(daily());
    handle.reopen();
    assert_eq!(handle.flush(PATIENCE), Ok(()));
    assert_eq!(archives(dir).len(), 0);
    say(&*logger, 0, 1);
    end(&handle, &[1]);
    assert_eq!(archives(dir).len(), 1);
    Text::of(&log_files(dir)).assert_complete(&[2]);
    Outcome::holds()
}

pub(crate) fn what_was_ordered_is_done_when_a_flush_after_it_answers(dir: &Path) -> Outcome {
    let (logger, handle) = logger(LogFile::new(dir.join("app.log")));
    for turn in 0..50 {
        say(&*logger, 0, turn);
        if turn % 2 == 1 {
            // It keeps the file's lock, without which nothing is rotated.
            handle.reopen();
            assert_eq!(handle.flush(PATIENCE), Ok(()));
        }
        handle.rotate();
        assert_eq!(handle.flush(PATIENCE), Ok(()));
        assert_eq!(archives(dir).len() as u64, turn + 1);
        assert_eq!(fs::metadata(dir.join("app.log")).unwrap().len(), 0);
    }
    end(&handle, &[50]);
    Text::of(&log_files(dir)).assert_complete(&[50]);
    Outcome::holds()
}

/// Until it is another program, a child has all descriptors of its parent, and a lock belongs to
/// the open file: the file that was opened again at that moment had no lock for 10 s, and was not
/// rotated.
pub(crate) fn a_program_that_starts_others_all_the_time_keeps_the_lock(dir: &Path) -> Outcome {
    let (logger, handle) = logger(LogFile::new(dir.join("app.log")));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    std::process::Command::new("true").status().unwrap();
                }
            });
        }
        for turn in 0..100 {
            say(&*logger, 0, turn);
            handle.reopen();
            assert_eq!(handle.flush(PATIENCE), Ok(()));
            handle.rotate();
            assert_eq!(handle.flush(PATIENCE), Ok(()));
        }
        over.store(true, Relaxed);
    });
    assert_eq!(archives(dir).len(), 100);
    end(&handle, &[100]);
    Text::of(&log_files(dir)).assert_complete(&[100]);
    Outcome::holds()
}

#[cfg(not(feature = "gzip"))]
pub(crate) fn archives_are_compressed_except_the_newest(_dir: &Path) -> Outcome {
    Outcome::Skipped("it needs the feature `gzip`".into())
}

#[cfg(not(feature = "gzip"))]
pub(crate) fn a_compressed_form_that_is_there_is_never_replaced(_dir: &Path) -> Outcome {
    Outcome::Skipped("it needs the feature `gzip`".into())
}

/// A kill between the two names leaves both forms of an archive; somebody else may have left
/// something by the name of one.
#[cfg(feature = "gzip")]
pub(crate) fn a_compressed_form_that_is_there_is_never_replaced(dir: &Path) -> Outcome {
    use std::process::Command;

    use crate::harness::wait_until;

    if !crate::harness::has("gzip") {
        return Outcome::Skipped("there is no `gzip` to pack with".into());
    }
    let archive = |day: u32| dir.join(format!("app.2020-01-0{day}T00-00-00-0000.log"));
    let packed = |day: u32| dir.join(format!("app.2020-01-0{day}T00-00-00-0000.log.gz"));
    let text = |day: u32| format!("a line of the day {day}\n").repeat(20_000);
    for day in 1..=6 {
        fs::write(archive(day), text(day)).unwrap();
    }
    // The first is packed already; of the second there is more than was packed, of the third less,
    // the fourth is not whole, and by the fifth's name there is something else.
    let pack = |day: u32| assert!(Command::new("gzip").arg("-k").arg(archive(day)).status().unwrap().success());
    (1..=4).for_each(pack);
    fs::write(archive(2), text(2) + "one more\n").unwrap();
    fs::write(archive(3), &text(3)[..1000]).unwrap();
    fs::File::options().write(true).open(packed(4)).unwrap().set_len(500).unwrap();
    fs::write(packed(5), "somebody's").unwrap();
    let before: Vec<_> = (1..=5).map(|day| fs::read(packed(day)).unwrap()).collect();

    let failed = Arc::new(Mutex::new(0));
    let heard = failed.clone();
    let (logger, handle) = Builder::new()
        .file(LogFile::new(dir.join("app.log")).compress(true).min_free_space(0))
        .on_event(move |event| match event {
            Event::Failed { doing: "compress an archive", .. } => *heard.lock().unwrap() += 1,
            other => panic!("{other:?}"),
        })
        .build()
        .unwrap();
    wait_until("each had its turn", || *failed.lock().unwrap() == 4 && !archive(1).exists());
    say(&logger, 0, 0);
    end(&handle, &[1]);
    assert_eq!((1..=5).map(|day| fs::read(packed(day)).unwrap()).collect::<Vec<_>>(), before);
    assert!((2..=6).all(|day| archive(day).exists()), "{:?}", names(dir));
    assert!(!packed(6).exists(), "the newest stays plain");
    assert!(names(dir).iter().all(|name| !name.starts_with('.')), "{:?}", names(dir));
    Outcome::holds()
}

#[cfg(not(feature = "gzip"))]
pub(crate) fn the_end_does_not_wait_for_a_compression(_dir: &Path) -> Outcome {
    Outcome::Skipped("it needs the feature `gzip`".into())
}

#[cfg(feature = "gzip")]
pub(crate) fn archives_are_compressed_except_the_newest(dir: &Path) -> Outcome {
    use crate::harness::wait_until;

    if !crate::harness::has("gzip") {
        return Outcome::Skipped("there is no `gzip` to unpack with".into());
    }
    let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    let first = dir.join("app.2020-09-13T12-26-40-0000.log");
    fs::write(&first, "of old\n".repeat(50_000)).unwrap();
    fs::File::options().append(true).open(&first).unwrap().set_modified(old).unwrap();
    fs::set_permissions(&first, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(dir.join(".app.2020-09-13T12-26-40-0000.log.gz.0000beef.new"), "left over").unwrap();
    let file = LogFile::new(dir.join("app.log")).rotation(Rotation::size(30 * KIB)).compress(true);
    let (logger, handle) = logger(file);
    let load = Load::start(&logger, 2);
    load.wait_for(4000);
    let logged = load.stop();
    let plain = || archives(dir).iter().filter(|path| path.extension().is_some_and(|end| end == "log")).count();
    // Nothing is rotated after this, so the newest archive stays the newest.
    assert_eq!(handle.flush(PATIENCE), Ok(()));
    wait_until("all but one are compressed", || plain() == 1);
    end(&handle, &logged);
    let there = archives(dir);
    assert!(there.len() > 5, "{there:?}");
    assert!(there.last().unwrap().extension().unwrap() == "log", "the newest is plain: {there:?}");
    assert!(names(dir).iter().all(|name| crate::harness::is_archive(name) || name == "app.log"), "{:?}", names(dir));
    let metadata = fs::metadata(&there[0]).unwrap();
    assert_eq!(metadata.modified().unwrap(), old, "it is as old as it was");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(crate::harness::read(&there[0]), "of old\n".repeat(50_000).as_bytes());
    fs::remove_file(&there[0]).unwrap();
    Text::of(&log_files(dir)).assert_complete(&logged);
    Outcome::holds()
}

#[cfg(feature = "gzip")]
pub(crate) fn the_end_does_not_wait_for_a_compression(dir: &Path) -> Outcome {
    use crate::harness::wait_until;
    use crate::support::moment::{HELD_UP, Moment};

    /// Takes many seconds to compress, and no room: it is one hole.
    const LEN: u64 = 16 << 30;

    let big = dir.join("app.2020-01-01T00-00-00-0000.log");
    fs::File::create(&big).unwrap().set_len(LEN).unwrap();
    fs::write(dir.join("app.2020-01-02T00-00-00-0000.log"), "newer\n").unwrap();
    let unfinished = || names(dir).into_iter().find(|name| name.starts_with(".app.2020-01-01T00-00-00-0000.log.gz."));
    let (logger, handle) = logger(LogFile::new(dir.join("app.log")).compress(true));
    say(&*logger, 0, 0);
    wait_until("it is being compressed", || {
        let written = unfinished().and_then(|name| fs::metadata(dir.join(name)).ok());
        written.is_some_and(|metadata| metadata.len() > 0)
    });
    let asked = Moment::now();
    end(&handle, &[1]);
    let took = asked.elapsed();
    assert!(took < Duration::from_millis(500) + HELD_UP, "the end took {took:?}");
    drop(logger);
    wait_until("it is broken off", || unfinished().is_none());
    assert_eq!(fs::metadata(&big).unwrap().len(), LEN, "the archive is there");
    assert!(!dir.join("app.2020-01-01T00-00-00-0000.log.gz").exists());
    Outcome::holds()
}
