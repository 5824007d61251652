//! What holds on the real file systems that this machine can mount: a row for each.
//!
//! `.ci/filesystems` installs what Debian has of them and runs this; `cargo test --test
//! file_systems -- --nocapture` takes what is there. Each row is measured on a small image:
//! it is filled and freed, the log is rotated, the file system is taken away without warning. What
//! must hold everywhere is asserted: the account, whole lines, and that the log comes back. What
//! differs is printed, and stands in `src/_docs/file_systems.md`.
//!
//! It needs root; where a file system cannot be mounted, its row is reported as ignored, with the
//! reason.
#![allow(clippy::incompatible_msrv)]
// only the library keeps to the oldest compiler

// This is a test with a harness of its own: it prints what it found and fails by panicking.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(target_os = "linux")]
#[allow(dead_code, unused_imports)] // it serves tests/files
#[path = "../files/harness.rs"]
mod harness;
#[cfg(target_os = "linux")]
mod mounts;
#[cfg(target_os = "linux")]
mod probe;
#[cfg(target_os = "linux")]
#[path = "../support/mod.rs"]
mod support;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use support::cases::{self, Case, Needs, Voice};

    macro_rules! rows {
        ($($name:ident,)*) => {
            &[$(Case { name: stringify!($name), needs: Needs::Root(|| Ok(())), voice: Voice::Soft, run: mounts::$name }),*]
        };
    }
    let all = rows![
        btrfs_with_a_quota,
        btrfs,
        zfs_fuse,
        ext4,
        xfs,
        tmpfs,
        overlay_on_tmpfs,
        ntfs_3g,
        exfat_fuse,
        sshfs_on_ext4,
        mergerfs_on_ext4,
        nfs,
    ];
    cases::main(all, &[])
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("0 passed, 0 failed: every case of this target needs Linux");
}
