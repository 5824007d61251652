//! What the crate asks of the process itself, on whichever thread asks. The only room with
//! `unsafe`.
//!
//! On Windows there is no fork, and there are no signals to keep away from the writer's thread. The
//! exit hook runs there after `main` has returned, and not in `std::process::exit`.
#![allow(unsafe_code)]

// Elsewhere no signal asks a writer.
#[cfg_attr(not(unix), allow(dead_code))]
mod crash;
#[cfg_attr(not(unix), allow(dead_code))]
mod crash_marks;
#[cfg(unix)]
mod descriptor;
mod exit;
mod fork;
mod grow_only;
mod host;
#[cfg(unix)]
mod identity;
mod library;
mod memory;
mod registry;
mod signals;
mod ticks;
mod users;
#[cfg(windows)]
pub(crate) mod windows;
mod writers;

#[cfg(all(loom, test))]
pub(crate) use crash::wait_for_writers;
#[cfg(unix)]
pub(crate) use descriptor::Descriptor;
pub use exit::exit_process;
pub(crate) use exit::{Registration, register_at_exit};
#[cfg(all(loom, test))]
pub(crate) use exit::{drain_all, register};
#[cfg(all(loom, test, unix))]
pub(crate) use fork::CloseInChild;
#[cfg(feature = "tracing")]
pub(crate) use fork::generation;
#[cfg(all(loom, test, unix))]
pub(crate) use fork::in_child;
pub(crate) use fork::{PerProcess, watch_forks};
pub(crate) use host::host_name;
pub(crate) use library::stay_loaded;
pub(crate) use memory::has_memory;
pub(crate) use registry::AtExit;
#[cfg(feature = "gzip")]
pub(crate) use signals::lower_priority;
pub(crate) use signals::{ProgramSignals, set_up_own_thread};
pub(crate) use ticks::{counter_keeps_time, steady_nanos, ticks};
pub(crate) use users::{group_id, user_id};
#[cfg(all(feature = "gzip", windows))]
pub(crate) use windows::others_write;
#[cfg(windows)]
pub(crate) use windows::set_writers;
pub(crate) use writers::Writers;
#[cfg(all(feature = "gzip", unix))]
pub(crate) use writers::others_write;
#[cfg(unix)]
pub(crate) use writers::set as set_writers;
