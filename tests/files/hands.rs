//! Others who move, cut and remove the file, and a second logger.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use unfazed::{KIB, LogFile, Rotation, State};

use crate::harness::{Load, Outcome, PATIENCE, Text, archives, end, has, log_files, logger, names, say, wait_until};

/// Debian keeps it where an ordinary user's PATH does not lead.
const LOGROTATE: &str = "/usr/sbin/logrotate";
const TURNS: usize = 8;

fn logrotate(dir: &Path, how: &str) -> Option<impl Fn() + use<>> {
    if !has(LOGROTATE) {
        return None;
    }
    let config = dir.join("logrotate.conf");
    let log = dir.join("logs/app.log");
    fs::create_dir(dir.join("logs")).unwrap();
    fs::write(&config, format!("{} {{\n rotate 100\n missingok\n nocompress\n {how}\n}}\n", log.display())).unwrap();
    // It trusts neither a configuration nor a directory that others may write.
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(dir.join("logs"), fs::Permissions::from_mode(0o755)).unwrap();
    let state = dir.join("state");
    Some(move || {
        let output = Command::new(LOGROTATE).arg("-f").arg("-s").arg(&state).arg(&config).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    })
}

/// logrotate's files, the oldest first, then the active one.
fn rotated(dir: &Path) -> Vec<Vec<u8>> {
    let mut numbers: Vec<u32> =
        names(dir).iter().filter_map(|name| name.strip_prefix("app.log.")?.parse().ok()).collect();
    numbers.sort_unstable_by(|one, next| next.cmp(one));
    let old = numbers.iter().map(|number| fs::read(dir.join(format!("app.log.{number}"))).unwrap());
    old.chain([fs::read(dir.join("app.log")).unwrap()]).collect()
}

pub(crate) fn the_real_logrotate_in_create_mode_loses_and_doubles_nothing(dir: &Path) -> Outcome {
    let Some(rotate) = logrotate(dir, "create") else {
        return Outcome::Skipped(format!("there is no `{LOGROTATE}`"));
    };
    let logs = dir.join("logs");
    let (logger, handle) = logger(LogFile::new(logs.join("app.log")));
    let load = Load::start(&logger, 3);
    for turn in 0..TURNS {
        load.wait_for(3000);
        rotate();
        if turn % 2 == 0 {
            // In a postrotate script. Without it the file is noticed to have moved.
            handle.reopen();
        }
        let path = logs.join("app.log");
        wait_until("the new file is written", || fs::metadata(&path).is_ok_and(|file| file.len() > 0));
    }
    load.wait_for(3000);
    let logged = load.stop();
    let stats = end(&handle, &logged);
    let files = rotated(&logs);
    assert_eq!(files.len(), TURNS + 1);
    assert!(files.iter().all(|file| !file.is_empty()), "each of them was written");
    assert_eq!(files.iter().map(Vec::len).sum::<usize>() as u64, stats.written_bytes);
    let text = Text::of(&files);
    text.assert_complete(&logged);
    assert!(text.notices.is_empty(), "{:?}", text.notices);
    Outcome::holds()
}

pub(crate) fn the_real_logrotate_in_copytruncate_mode_loses_only_what_it_cuts_between_copy_and_cut(
    dir: &Path,
) -> Outcome {
    let Some(rotate) = logrotate(dir, "copytruncate") else {
        return Outcome::Skipped(format!("there is no `{LOGROTATE}`"));
    };
    let logs = dir.join("logs");
    // With a size, so that its count has to follow.
    let (logger, handle) = logger(LogFile::new(logs.join("app.log")).rotation(Rotation::size(100_000 * KIB)));
    let load = Load::start(&logger, 3);
    for turn in 1..=TURNS {
        load.wait_for(3000);
        rotate();
        wait_until("the cut is told", || handle.stats().outputs[0].notices == turn as u64);
    }
    load.wait_for(3000);
    let logged = load.stop();
    end(&handle, &logged);
    assert!(archives(&logs).is_empty(), "{:?}", names(&logs));
    let files = rotated(&logs);
    assert_eq!(files.len(), TURNS + 1);
    let text = Text::of(&files);
    // A copy may end in the middle of a write, and what was cut begins after it: the two ends of
    // one line at most.
    assert!(text.fragments.len() <= 2 * TURNS, "{:?}", text.fragments);
    let told = text.notices.iter().filter(|notice| notice.contains("the log file was cut short")).count();
    // A line that tells one may itself have gone with the next.
    assert!((TURNS - 1..=TURNS).contains(&told), "{:?}", text.notices);
    // What is missing stood at the end of a file when that was cut: within a copy nothing is.
    // Between the two it syncs the copy, which may take longer than all the rest.
    for file in &files {
        for (author, numbers) in Text::of(std::slice::from_ref(file)).records {
            let hole = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1);
            assert_eq!(hole, None, "author {author}: missing, doubled or out of order within a copy");
        }
    }
    let mut missing = 0;
    for (author, count) in (0..).zip(&logged) {
        let numbers = &text.records[&author];
        assert!(numbers.is_sorted_by(|one, next| one < next), "author {author}: doubled or out of order");
        assert_eq!((numbers[0], numbers.last()), (0, Some(&(count - 1))), "author {author}");
        missing += count - numbers.len() as u64;
    }
    let all: u64 = logged.iter().sum();
    Outcome::Holds(format!("{missing} of {all} records went between its copy and its cut, {TURNS} cuts"))
}

/// The records follow each other sooner than two looks at the path. Each cut comes between two
/// writes: everything is in the file, and the cut before is told.
pub(crate) fn whatever_follows_a_cut_inside_a_line_stands_on_a_line_of_its_own(dir: &Path) -> Outcome {
    let path = dir.join("app.log");
    let (logger, handle) = logger(LogFile::new(&path));
    let log = |message: &str| {
        let args = format_args!("{message}");
        log::Log::log(&*logger, &log::Record::builder().level(log::Level::Info).target("cut").args(args).build());
        assert_eq!(handle.flush(Duration::from_secs(10)), Ok(()));
    };
    for round in 1..=20 {
        (0..4).for_each(|number| log(&format!("before {round}.{number}")));
        let before = fs::read(&path).unwrap();
        let last_line = before[..before.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        let len = last_line + round;
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(len as u64).unwrap();
        log(&format!("after {round}"));
        wait_until("the cut is told", || handle.stats().outputs[0].notices == round as u64);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.as_bytes()[..len], before[..len], "round {round}");
        let after = text[len..].strip_prefix('\n').unwrap_or_else(|| panic!("round {round}: glued: {text}"));
        assert_eq!(after.lines().filter(|line| line.ends_with(&format!(" cut: after {round}"))).count(), 1, "{after}");
        let told = format!("the log file was cut short bytes_cut_off={}", before.len() - len);
        assert_eq!((after.lines().count(), after.matches(&told).count()), (2, 1), "{after}");
    }
    let stats = handle.stats();
    assert_eq!((stats.written, stats.dropped.total()), (100, 0));
    Outcome::holds()
}

pub(crate) fn a_file_that_is_renamed_again_and_again_loses_nothing(dir: &Path) -> Outcome {
    let path = dir.join("app.log");
    let (logger, handle) = logger(LogFile::new(&path));
    let load = Load::start(&logger, 3);
    for turn in 0..20 {
        load.wait_for(500);
        // The name is free until the logger takes it.
        wait_until("it is opened again", || path.exists());
        fs::rename(&path, dir.join(format!("app.{turn:03}"))).unwrap();
    }
    wait_until("it is opened again", || path.exists());
    load.wait_for(500);
    let logged = load.stop();
    end(&handle, &logged);
    Text::of(&log_files(dir)).assert_complete(&logged);
    Outcome::holds()
}

pub(crate) fn a_directory_that_is_removed_again_and_again_is_made_again(dir: &Path) -> Outcome {
    let logs = dir.join("deep/logs");
    let path = logs.join("app.log");
    let file = LogFile::new(&path).rotation(Rotation::size(10 * KIB)).max_files(4);
    let (logger, handle) = logger(file);
    let load = Load::start(&logger, 2);
    for _ in 0..10 {
        load.wait_for(500);
        wait_until("it is made again", || path.exists());
        // Not always to be had while somebody puts new files into it.
        while logs.exists() && fs::remove_dir_all(dir.join("deep")).is_err() {}
    }
    // An attempt that failed because the directory was just being removed has suspended the log. It
    // opens the file before it may resume, and drops records until then.
    wait_until("it is made again, and written", || path.exists() && handle.state() == State::Healthy);
    load.wait_for(2000);
    let logged = load.stop();
    assert_eq!(handle.shutdown(PATIENCE), Ok(()));
    let stats = handle.stats();
    assert_eq!(stats.accepted, logged.iter().sum::<u64>());
    assert_eq!(stats.accepted, stats.written + stats.dropped.total(), "{stats:?}");
    assert_eq!(stats.pending, 0);
    let text = Text::of(&log_files(&logs));
    assert!(text.fragments.is_empty(), "{:?}", text.fragments);
    for (author, numbers) in &text.records {
        let last = logged[*author as usize] - 1;
        assert_eq!(numbers.last(), Some(&last), "it goes on to the end: {stats:?}, {:?}", names(&logs));
    }
    Outcome::holds()
}

/// A backup by hard links takes the active file as it takes the archives; it grows there, too,
/// until it is rotated.
pub(crate) fn a_backup_that_links_every_file_changes_nothing(dir: &Path) -> Outcome {
    let (logs, backup) = (dir.join("logs"), dir.join("backup"));
    fs::create_dir(&logs).unwrap();
    fs::create_dir(&backup).unwrap();
    let file = LogFile::new(logs.join("app.log")).rotation(Rotation::size(10 * KIB));
    let (logger, handle) = logger(file);
    let load = Load::start(&logger, 2);
    load.wait_for(100);
    for turn in 0..40 {
        load.wait_for(100);
        let to = backup.join(turn.to_string());
        fs::create_dir(&to).unwrap();
        for name in names(&logs) {
            // It may have been renamed or deleted since the listing.
            let _ = fs::hard_link(logs.join(&name), to.join(&name));
        }
    }
    let logged = load.stop();
    end(&handle, &logged);
    assert!(archives(&logs).len() > 10, "{:?}", names(&logs));
    Text::of(&log_files(&logs)).assert_complete(&logged);
    assert!(names(&logs).iter().all(|name| !name.starts_with('.')), "{:?}", names(&logs));
    // Each copy is whole lines, as far as it goes: a file that only grew.
    for turn in 0..40 {
        let text = Text::of(&log_files(&backup.join(turn.to_string())));
        assert!(text.fragments.is_empty(), "{:?}", text.fragments);
    }
    Outcome::holds()
}

/// Where a release is switched by its link, the log's directory, or the log itself, may be the
/// target of one.
pub(crate) fn a_link_that_is_led_elsewhere_is_followed_with_the_next_record(dir: &Path) -> Outcome {
    for release in ["one", "two"] {
        fs::create_dir(dir.join(release)).unwrap();
    }
    let lead = |link: &Path, to: &Path| {
        let new = dir.join("new");
        symlink(to, &new).unwrap();
        fs::rename(&new, link).unwrap();
    };
    let logged_in = |release: &str| Text::of(&log_files(&dir.join(release)));
    // The directory; then the file.
    for way in 0..2 {
        let link = dir.join("current");
        let (path, first, second) = match way {
            0 => (link.join("app.log"), "one".into(), "two".into()),
            _ => (link.clone(), Path::new("one").join("app.log"), Path::new("two").join("app.log")),
        };
        lead(&link, &first);
        let (logger, handle) = logger(LogFile::new(&path).rotation(Rotation::size(5 * KIB)));
        let load = Load::start(&logger, 2);
        let rotated_in = |release: &str| archives(&dir.join(release)).len() > 2;
        wait_until("it is rotated", || rotated_in("one"));
        lead(&link, &second);
        wait_until("it is followed, and rotated there", || rotated_in("two"));
        let logged = load.stop();
        end(&handle, &logged);
        assert!(dir.join("current").is_symlink());
        let [before, after] = ["one", "two"].map(logged_in);
        assert!(before.fragments.is_empty() && after.fragments.is_empty());
        for (author, count) in (0..).zip(logged) {
            let [one, two] = [&before, &after].map(|text| text.records.get(&author).map_or(&[][..], Vec::as_slice));
            assert!(one.iter().chain(two).copied().eq(0..count), "author {author}, way {way}");
        }
        for release in ["one", "two"] {
            assert!(archives(&dir.join(release)).iter().all(|path| fs::metadata(path).unwrap().nlink() == 1));
            for name in names(&dir.join(release)) {
                fs::remove_file(dir.join(release).join(name)).unwrap();
            }
        }
        fs::remove_file(link).unwrap();
    }
    Outcome::holds()
}

pub(crate) fn two_loggers_on_one_file_lose_nothing_and_one_of_them_rotates(dir: &Path) -> Outcome {
    let file = || LogFile::new(dir.join("app.log")).rotation(Rotation::size(20 * KIB));
    let (first, first_handle) = logger(file());
    say(&*first, 0, 0);
    assert_eq!(first_handle.flush(PATIENCE), Ok(()));
    let (second, second_handle) = logger(file());
    // Author 0 of the first is author 0 of the file, author 0 of the second is author 1.
    let stop = std::sync::atomic::AtomicBool::new(false);
    let logged = std::thread::scope(|scope| {
        let threads = [(&first, 0, 1), (&second, 1, 0)].map(|(logger, author, from)| {
            let stop = &stop;
            scope.spawn(move || {
                let mut n = from;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    for _ in 0..20 {
                        say(&**logger, author, n);
                        n += 1;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                n
            })
        });
        wait_until("rotations", || archives(dir).len() >= 30);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        threads.map(|thread| thread.join().unwrap())
    });
    end(&second_handle, &logged[1..]);
    end(&first_handle, &logged[..1]);
    // The second may still write to a file that was just rotated: its records stand after younger
    // ones of the first, and in order all the same, because it goes from file to file in their
    // order.
    Text::of(&log_files(dir)).assert_complete(&logged);
    Outcome::holds()
}
