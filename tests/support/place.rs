//! Where a case plays: its directory, the small file systems it mounts, and what fills them.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_remount};

use super::moment::Moment;

/// The directory of a case. Its own process alone uses it.
pub(crate) struct Place {
    dir: PathBuf,
}

impl Place {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// An ordinary directory, on whatever file system the build is.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn mount_point(&self) -> PathBuf {
        let point = self.dir.join("mount");
        fs::create_dir(&point).unwrap();
        point
    }

    /// A file system in memory. It goes away with the mount namespace of this process, however that
    /// ends.
    pub(crate) fn tmpfs(&self, options: &str) -> PathBuf {
        let point = self.mount_point();
        self.tmpfs_at(&point, options);
        point
    }

    pub(crate) fn tmpfs_at(&self, point: &Path, options: &str) {
        let options = CString::new(options).unwrap();
        mount("unfazed-test", point, "tmpfs", MountFlags::empty(), options.as_c_str()).expect("mount a tmpfs");
    }

    /// An overlay whose upper side is a file system in memory; or why there is none to be had.
    pub(crate) fn overlay(&self) -> Result<PathBuf, String> {
        let upper = self.tmpfs("size=8m");
        let [lower, changes, work, merged] = ["lower", "upper", "work", "merged"]
            .map(|name| if name == "merged" { self.dir.join(name) } else { upper.join(name) });
        for dir in [&lower, &changes, &work, &merged] {
            fs::create_dir(dir).unwrap();
        }
        let options = format!("lowerdir={},upperdir={},workdir={}", lower.display(), changes.display(), work.display());
        let mut command = Command::new("mount");
        command.args(["-t", "overlay", "overlay", "-o", &options]).arg(&merged);
        let output = command.output().map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(merged)
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    /// An ext4 of 16 MiB on a loop device, a twentieth of it for root alone. The device belongs to
    /// the mount (`-o loop` frees it with the mount), and the mount to the mount namespace of this
    /// process.
    pub(crate) fn ext4(&self) -> PathBuf {
        let point = self.mount_point();
        self.mount_ext4(&point);
        point
    }

    /// The same where anybody may write, and where anybody comes to, whoever may look into the
    /// directory of the case. Nobody else sees it: it is mounted in the mount namespace of this
    /// process.
    pub(crate) fn ext4_for_anybody(&self) -> Result<PathBuf, String> {
        let point = Path::new("/mnt");
        if !point.is_dir() {
            return Err("there is no /mnt to mount it on".to_owned());
        }
        self.mount_ext4(point);
        fs::set_permissions(point, fs::Permissions::from_mode(0o777)).unwrap();
        Ok(point.to_owned())
    }

    /// The image lies in memory: the case waits for its own disk, and not for the machine's, on
    /// which a build may be writing.
    fn mount_ext4(&self, point: &Path) {
        let images = self.dir.join("images");
        fs::create_dir(&images).unwrap();
        self.tmpfs_at(&images, "size=32m");
        let image = images.join("ext4.img");
        File::create(&image).unwrap().set_len(16 << 20).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-b", "1024", "-m", "5"]).arg(&image));
        // Never the default of the image, which might be a panic of the machine.
        run(Command::new("mount").args(["-o", "loop,errors=remount-ro"]).arg(&image).arg(point));
    }
}

impl Place {
    /// An XFS of 300 MiB, the smallest there is, on a loop device; or why there is none to be had.
    pub(crate) fn xfs(&self) -> Result<PathBuf, String> {
        let image = self.dir.join("xfs.img");
        File::create(&image).unwrap().set_len(300 << 20).unwrap();
        let point = self.mount_point();
        let mut make = Command::new("mkfs.xfs");
        make.arg("-q").arg(&image);
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop"]).arg(&image).arg(&point);
        for command in [&mut make, &mut mount] {
            let output =
                command.output().map_err(|error| format!("{}: {error}", command.get_program().to_string_lossy()))?;
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
            }
        }
        Ok(point)
    }
}

/// Asserts that no device is left of an image in `dir`, once the process that had mounted it has
/// ended; frees it if so.
pub(crate) fn assert_no_loop_device_is_left(dir: &Path) {
    let used = || {
        let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
        devices.map(|device| device.file_name()).find(|device| {
            let file = Path::new("/sys/block").join(device).join("loop/backing_file");
            fs::read_to_string(file).is_ok_and(|image| Path::new(image.trim_end()).starts_with(dir))
        })
    };
    // The kernel takes a namespace apart after its last process has ended, not before.
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Some(device) = used() {
        if Instant::now() > deadline {
            run(Command::new("losetup").arg("-d").arg(Path::new("/dev").join(&device)));
            panic!("{} was left behind", device.to_string_lossy());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a tool; it must succeed and say nothing.
pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {} {stdout} {stderr}", output.status);
}

pub(crate) fn remount(point: &Path, flags: MountFlags) {
    mount_remount(point, flags, c"").expect("remount");
}

/// What an ordinary user may still take.
pub(crate) fn free(path: &Path) -> u64 {
    let answer = rustix::fs::statvfs(path).unwrap();
    answer.f_bavail * answer.f_frsize
}

/// What root may still take.
pub(crate) fn free_for_root(path: &Path) -> u64 {
    let answer = rustix::fs::statvfs(path).unwrap();
    answer.f_bfree * answer.f_frsize
}

/// What else is on the disk.
pub(crate) struct Filler {
    path: PathBuf,
    file: File,
}

impl Filler {
    pub(crate) fn new(path: PathBuf) -> Self {
        let file = File::options().append(true).create_new(true).open(&path).unwrap();
        Self { path, file }
    }

    /// Takes all there is, to the last byte.
    pub(crate) fn fill(&mut self) {
        for piece in [64 << 10, 4 << 10, 512, 1] {
            while self.write(piece) {}
        }
    }

    /// Takes all but this many free bytes. Takes them at once: what is written ext4 takes when it
    /// writes it back, counts it twice for a moment, and needs further blocks to note where it is.
    pub(crate) fn fill_leaving(&mut self, leave: u64) {
        while free(&self.path) > leave && self.allocate(4 << 10) {}
    }

    /// Gives back the last bytes.
    pub(crate) fn give_back(&mut self, bytes: u64) {
        let len = self.file.metadata().unwrap().len();
        self.file.set_len(len.saturating_sub(bytes)).unwrap();
    }

    /// Takes all that an ordinary user may take, and little more: where blocks are kept for root,
    /// those are left.
    pub(crate) fn fill_for_users(&mut self) {
        self.fill_leaving(0);
    }

    fn write(&mut self, bytes: usize) -> bool {
        match self.file.write(&vec![0; bytes]) {
            Ok(written) => written > 0,
            Err(error) if error.kind() == ErrorKind::StorageFull => false,
            Err(error) => panic!("fill the disk: {error}"),
        }
    }

    fn allocate(&self, bytes: u64) -> bool {
        let len = self.file.metadata().unwrap().len();
        match fallocate(&self.file, FallocateFlags::empty(), len, bytes) {
            Ok(()) => true,
            Err(Errno::NOSPC) => false,
            Err(error) => panic!("fill the disk: {error}"),
        }
    }

    /// Gives all of it back; returns when that was.
    pub(crate) fn remove(self) -> Moment {
        let freed = Moment::now();
        fs::remove_file(self.leave()).unwrap();
        freed
    }

    /// Leaves it to somebody else to give it back, by the path.
    pub(crate) fn leave(self) -> PathBuf {
        self.path
    }
}
