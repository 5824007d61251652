//! How long a log takes until it is back: `cargo bench --bench resume`. Prints, for each cause, the
//! time from the end of the fault to the healthy state, over 40 rounds.
//!
//! It works in a small tmpfs, which it mounts in namespaces of its own (`unshare -rm`; root is not
//! needed). Where that cannot be done, it says so.

#![allow(clippy::print_stdout, clippy::unwrap_used)] // a benchmark prints, and stops at the first surprise

fn main() {
    #[cfg(target_os = "linux")]
    linux::main();
    #[cfg(not(target_os = "linux"))]
    println!("skipped: it needs Linux");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::io::Write as _;
    use std::path::Path;
    use std::process::Command;
    use std::thread;
    use std::time::{Duration, Instant};

    use unfazed::{Builder, Handle, LogFile, MIB, State};

    const ROUNDS: u32 = 40;
    const CAUSES: [&str; 4] = ["low space", "no space (ENOSPC)", "read-only (EROFS)", "missing directory"];
    const DIR: &str = "UNFAZED_RESUME_DIR";

    pub(super) fn main() {
        if let Some(dir) = std::env::var_os(DIR) {
            return measure(Path::new(&dir));
        }
        let dir = tempfile::tempdir().unwrap();
        let can = Command::new("unshare").args(["-rm", "true"]).output().is_ok_and(|output| output.status.success());
        if !can {
            println!("skipped: no user namespaces, or no `unshare`, on this machine");
            return;
        }
        let mut itself = Command::new("unshare");
        itself.args(["-rm", "--"]).arg(std::env::current_exe().unwrap()).env(DIR, dir.path());
        assert!(itself.status().unwrap().success());
    }

    fn measure(dir: &Path) {
        mount(&["-t", "tmpfs", "-o", "size=16m", "tmpfs"], dir);
        println!("{:<20}{:>10}{:>10}{:>10}   milliseconds, {ROUNDS} rounds", "cause", "shortest", "median", "longest");
        for cause in CAUSES {
            let mut times: Vec<_> = (0..ROUNDS).map(|round| time_to_resume(dir, cause, round)).collect();
            times.sort();
            let [shortest, median, longest] = [0, times.len() / 2, times.len() - 1].map(|at| times[at].as_millis());
            println!("{cause:<20}{shortest:>10}{median:>10}{longest:>10}");
        }
    }

    fn time_to_resume(dir: &Path, cause: &str, round: u32) -> Duration {
        let filler = dir.join("filler");
        let folder = dir.join("folder");
        let log = LogFile::new(folder.join("app.log")).error_reserve(0);
        let reserve = if cause == CAUSES[0] { MIB } else { 0 };
        match cause {
            "low space" => fill(&filler, 512 << 10),
            "no space (ENOSPC)" => fs::create_dir(&folder).map(|()| fill(&filler, 0)).unwrap(),
            "read-only (EROFS)" => mount(&["-o", "remount,ro"], dir),
            _ => fs::write(&folder, "in the way of the directory").unwrap(),
        }
        let (logger, handle) = Builder::new().file(log.min_free_space(reserve)).build().unwrap();
        let say = || log::info!(logger: &logger, "a record");
        log::set_max_level(log::LevelFilter::Info);
        let is_suspended = |handle: &Handle| matches!(handle.state(), State::Suspended(_));
        while !is_suspended(&handle) {
            say();
            thread::sleep(Duration::from_millis(1));
        }
        // Any moment between two attempts.
        let lifted_after = Duration::from_millis(u64::from(400 + round * 37 % 250));
        let begun = Instant::now();
        while begun.elapsed() < lifted_after {
            say();
            thread::sleep(Duration::from_millis(1));
        }
        assert!(is_suspended(&handle), "{cause}: {:?}", handle.state());
        match cause {
            "read-only (EROFS)" => mount(&["-o", "remount,rw"], dir),
            "missing directory" => fs::remove_file(&folder).unwrap(),
            _ => fs::remove_file(&filler).unwrap(),
        }
        let lifted = Instant::now();
        while is_suspended(&handle) {
            thread::sleep(Duration::from_micros(200));
        }
        let took = lifted.elapsed();
        drop(logger);
        fs::remove_dir_all(&folder).unwrap();
        took
    }

    /// Takes all but this many free bytes.
    fn fill(path: &Path, leave: u64) {
        let mut filler = fs::File::create(path).unwrap();
        let free = || free_space(path).unwrap();
        for piece in [64 << 10, 4 << 10, 1] {
            while free() >= leave + piece as u64 && filler.write(&vec![0; piece]).is_ok_and(|written| written > 0) {}
        }
    }

    fn free_space(path: &Path) -> rustix::io::Result<u64> {
        rustix::fs::statvfs(path).map(|answer| answer.f_bavail * answer.f_frsize)
    }

    fn mount(arguments: &[&str], point: &Path) {
        let output = Command::new("mount").args(arguments).arg(point).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
