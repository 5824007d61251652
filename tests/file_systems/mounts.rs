//! How each file system is mounted here, and taken away.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use unfazed::MIB;

use crate::probe::probe;
use crate::support::cases::Outcome;
use crate::support::child::wait_until;
use crate::support::place::Place;
use crate::support::subject::PATIENCE;

/// A command that must succeed; or what it says.
fn done(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("`{program}`: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" ");
    Err(format!("`{program}`: {}: {said}", output.status))
}

/// Where a case has its images and its mounts.
struct Bench {
    dir: PathBuf,
}

impl Bench {
    /// The images are in memory: what is measured is not this machine's disk.
    fn new(place: &Place) -> Self {
        let dir = place.dir().join("bench");
        fs::create_dir(&dir).unwrap();
        place.tmpfs_at(&dir, "size=1g");
        Self { dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    fn new_dir(&self, name: &str) -> String {
        fs::create_dir(self.dir.join(name)).unwrap();
        self.path(name)
    }

    fn image(&self, bytes: u64) -> String {
        let path = self.path("image");
        File::create(&path).unwrap().set_len(bytes).unwrap();
        path
    }

    /// Starts what serves a file system at `point`, and waits until it does.
    fn serve(&self, point: &str, program: &str, args: &[&str]) -> Result<Server, String> {
        let outside = fs::metadata(&self.dir).unwrap().dev();
        // It ends with this process, whatever becomes of that.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program]).args(args).stdin(Stdio::null());
        command.stdout(File::create(self.path("said")).unwrap()).stderr(File::create(self.path("complained")).unwrap());
        let child = command.spawn().map_err(|error| error.to_string())?;
        let mut server = Server { child };
        let mut ended = None;
        wait_until(
            || format!("`{program}` serves"),
            PATIENCE,
            || {
                ended = server.child.try_wait().unwrap();
                ended.is_some() || fs::metadata(point).is_ok_and(|there| there.dev() != outside)
            },
        );
        match ended {
            None => Ok(server),
            Some(status) => {
                let said = fs::read_to_string(self.path("complained")).unwrap_or_default();
                Err(format!("`{program}`: {status}: {}", said.split_whitespace().collect::<Vec<_>>().join(" ")))
            }
        }
    }
}

/// A process that serves a file system.
struct Server {
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn row(result: Result<String, String>) -> Outcome {
    match result {
        Ok(row) => Outcome::Holds(row),
        Err(reason) => Outcome::Skipped(reason),
    }
}

/// A file system on an image, by the kernel. It crashes when its image, as it is at that moment, is
/// mounted somewhere else.
fn by_the_kernel(
    place: &Place,
    bytes: u64,
    make: &[&str],
    options: &str,
    prepare: impl Fn(&str) -> Result<(), String>,
) -> Outcome {
    let bench = Bench::new(place);
    let image = bench.image(bytes);
    let point = bench.new_dir("point");
    let ready = done(make[0], &[&make[1..], &[image.as_str()]].concat())
        .and_then(|()| done("mount", &["-o", &format!("loop,{options}"), &image, &point]))
        .and_then(|()| prepare(&point));
    row(ready.and_then(|()| {
        probe(Path::new(&point), || {
            let copy = bench.path("copy");
            fs::copy(&image, &copy).unwrap();
            done("umount", &[&point])?;
            done("mount", &["-o", &format!("loop,{options}"), &copy, &point])?;
            Ok((PathBuf::from(&point), "a crash of the machine"))
        })
    }))
}

pub(crate) fn ext4(place: &Place) -> Outcome {
    let make = ["mkfs.ext4", "-q", "-b", "1024", "-m", "5"];
    by_the_kernel(place, 32 * MIB, &make, "errors=remount-ro", |_| Ok(()))
}

pub(crate) fn xfs(place: &Place) -> Outcome {
    by_the_kernel(place, 300 * MIB, &["mkfs.xfs", "-q"], "nouuid", |_| Ok(()))
}

pub(crate) fn btrfs(place: &Place) -> Outcome {
    by_the_kernel(place, 200 * MIB, &["mkfs.btrfs", "-q"], "defaults", |_| Ok(()))
}

/// The log stands in a subvolume that may take 8 MiB.
pub(crate) fn btrfs_with_a_quota(place: &Place) -> Outcome {
    by_the_kernel(place, 200 * MIB, &["mkfs.btrfs", "-q"], "defaults", |point| {
        done("btrfs", &["quota", "enable", point])?;
        done("btrfs", &["subvolume", "create", &format!("{point}/logs")])?;
        done("btrfs", &["qgroup", "limit", "8m", &format!("{point}/logs")])
    })
}

pub(crate) fn tmpfs(place: &Place) -> Outcome {
    let dir = place.tmpfs("size=16m");
    row(probe(&dir, || Err("nothing survives the machine".to_owned())))
}

pub(crate) fn overlay_on_tmpfs(place: &Place) -> Outcome {
    row(place.overlay().and_then(|dir| probe(&dir, || Err("nothing survives the machine".to_owned()))))
}

/// A file system that a process serves from an image. It crashes when that is killed.
fn by_a_server(place: &Place, make: &[&str], serve: impl Fn(&str, &str) -> Vec<String>) -> Outcome {
    let bench = Bench::new(place);
    let image = bench.image(32 * MIB);
    let point = bench.new_dir("point");
    let mount = || {
        // The kernel frees the device when nobody has it open any more.
        let device = Command::new("losetup").args(["-f", "--show", &image]).output().unwrap();
        let device = String::from_utf8(device.stdout).unwrap().trim().to_owned();
        let command = serve(&device, &point);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let server = bench.serve(&point, command[0], &command[1..]);
        done("losetup", &["-d", &device])?;
        server
    };
    row(done(make[0], &[&make[1..], &[image.as_str()]].concat()).and_then(|()| {
        let mut server = Some(mount()?);
        probe(Path::new(&point), || {
            server = None;
            done("umount", &["-l", &point])?;
            server = Some(mount()?);
            Ok((PathBuf::from(&point), "its server is killed"))
        })
    }))
}

pub(crate) fn ntfs_3g(place: &Place) -> Outcome {
    by_a_server(place, &["mkntfs", "-q", "-F", "-f"], |image, point| {
        ["ntfs-3g", "-o", "no_detach", image, point].map(str::to_owned).to_vec()
    })
}

pub(crate) fn exfat_fuse(place: &Place) -> Outcome {
    by_a_server(place, &["mkfs.exfat"], |image, point| {
        ["mount.exfat-fuse", "-d", image, point].map(str::to_owned).to_vec()
    })
}

/// A file system that a process serves from a directory on ext4. What it has not handed on when it
/// is killed is lost.
fn on_ext4(place: &Place, serve: impl Fn(&Bench, &str, &str) -> Vec<String>) -> Outcome {
    let bench = Bench::new(place);
    let (image, below, point) = (bench.image(32 * MIB), bench.new_dir("below"), bench.new_dir("point"));
    let ready = done("mkfs.ext4", &["-q", "-b", "1024", "-m", "0", &image])
        .and_then(|()| done("mount", &["-o", "loop,errors=remount-ro", &image, &below]));
    row(ready.and_then(|()| {
        let command = serve(&bench, &below, &point);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let mut server = Some(bench.serve(&point, command[0], &command[1..])?);
        probe(Path::new(&point), || {
            server = None;
            done("umount", &["-l", &point])?;
            Ok((PathBuf::from(&below), "its server is killed"))
        })
    }))
}

/// The server is Debian's, without a network between.
pub(crate) fn sshfs_on_ext4(place: &Place) -> Outcome {
    const SFTP: &str = "/usr/lib/openssh/sftp-server";
    if !Path::new(SFTP).exists() {
        return Outcome::Skipped(format!("there is no {SFTP}"));
    }
    on_ext4(place, |bench, below, point| {
        let ssh = bench.path("ssh");
        fs::write(&ssh, format!("#!/bin/sh\nexec {SFTP}\n")).unwrap();
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
        ["sshfs", "-f", "-o", &format!("ssh_command={ssh}"), &format!("here:{below}"), point]
            .map(str::to_owned)
            .to_vec()
    })
}

pub(crate) fn mergerfs_on_ext4(place: &Place) -> Outcome {
    // Otherwise it creates nothing on a branch with less than 4 GiB of free space.
    on_ext4(place, |_, below, point| {
        ["mergerfs", "-f", "-o", "minfreespace=0", below, point].map(str::to_owned).to_vec()
    })
}

/// Debian's zfs-fuse. Its tools look for it at one place in /run, and it writes to /run/lock and
/// /var/lib: there it has places that are this case's alone.
pub(crate) fn zfs_fuse(place: &Place) -> Outcome {
    if let Err(reason) = done("sh", &["-c", "command -v zfs-fuse zpool zfs"]) {
        return Outcome::Skipped(reason);
    }
    let bench = Bench::new(place);
    // The least that a pool may have.
    let (image, point) = (bench.image(64 * MIB), bench.new_dir("pool"));
    place.tmpfs_at(Path::new("/run"), "size=1m");
    place.tmpfs_at(Path::new("/var/lib"), "size=1m");
    fs::create_dir("/run/lock").unwrap();
    row(start_zfs().and_then(|server| {
        done("zpool", &["create", "-m", &point, "unfazed-test", &image])?;
        let mut server = Some(server);
        probe(Path::new(&point), || {
            server = None;
            done("umount", &["-l", &point])?;
            // It finds the pool by its own list.
            server = Some(start_zfs()?);
            done("zfs", &["mount", "-a"])?;
            Ok((PathBuf::from(&point), "its server is killed"))
        })
    }))
}

fn start_zfs() -> Result<Server, String> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "zfs-fuse", "-n"]).stdin(Stdio::null());
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut server = Server { child: child.map_err(|error| error.to_string())? };
    let mut ended = None;
    wait_until(
        || "zfs-fuse answers".into(),
        PATIENCE,
        || {
            ended = server.child.try_wait().unwrap();
            ended.is_some() || done("zpool", &["list"]).is_ok()
        },
    );
    ended.map_or(Ok(server), |status| Err(format!("zfs-fuse does not start here: {status}")))
}

/// NFS 4 by the kernel, of an ext4 that the same kernel serves. The server is the whole machine's,
/// so it is started only where the machine is a virtual one of its own: `.ci/nfs`.
pub(crate) fn nfs(place: &Place) -> Outcome {
    if std::env::var_os("UNFAZED_NFS").is_none() {
        return Outcome::Skipped("its server is the whole machine's: `.ci/nfs` plays it in a virtual one".to_owned());
    }
    let bench = Bench::new(place);
    let (image, below, point) = (bench.image(32 * MIB), bench.new_dir("below"), bench.new_dir("point"));
    let ready = done("mkfs.ext4", &["-q", "-b", "1024", "-m", "0", &image])
        .and_then(|()| done("mount", &["-o", "loop,errors=remount-ro", &image, &below]))
        .and_then(|()| export(&below))
        .and_then(|()| done("mount", &["-t", "nfs4", "127.0.0.1:/", &point]));
    row(ready.and_then(|()| {
        probe(Path::new(&point), || {
            let (copy, there) = (bench.path("copy"), bench.new_dir("there"));
            fs::copy(&image, &copy).unwrap();
            done("mount", &["-o", "loop,errors=remount-ro", &copy, &there])?;
            Ok((PathBuf::from(there), "a crash of the server"))
        })
    }))
}

/// Has the kernel serve a directory to this machine, and to it alone.
fn export(dir: &str) -> Result<(), String> {
    done("mount", &["-t", "nfsd", "nfsd", "/proc/fs/nfsd"])?;
    done("exportfs", &["-o", "rw,sync,no_root_squash,no_subtree_check,fsid=0", &format!("127.0.0.1:{dir}")])?;
    done("rpc.mountd", &["--no-nfs-version", "3"])?;
    done("rpc.nfsd", &["--no-nfs-version", "3", "--host", "127.0.0.1", "4"])?;
    // Nobody has been a client before: there is nothing to wait for.
    fs::write("/proc/fs/nfsd/v4_end_grace", "Y").map_err(|error| format!("the server's grace period: {error}"))
}
