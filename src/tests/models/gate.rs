//! A gate that was shut stays shut.

use log::Level;
use loom::thread;

use crate::os::AtExit;
use crate::queue::{Gate, Overflow};
use crate::stats::DropReason;
use crate::wanted::Wanting;

use super::{check, pipeline};

#[test]
fn loom_the_writer_never_opens_a_gate_that_was_shut() {
    check(9, || {
        let pipeline = pipeline(1, Overflow::DropNewest);
        let stopper = {
            let pipeline = pipeline.clone();
            thread::spawn(move || {
                pipeline.begin_exit();
                assert!(pipeline.is_shut());
            })
        };
        let mut closed = Gate::OPEN;
        closed.close(Level::Info, DropReason::DiskFull);
        pipeline.set_gate(closed);
        pipeline.set_gate(Gate::OPEN);
        stopper.join().unwrap();
        pipeline.set_gate(Gate::OPEN);
        assert!(pipeline.is_shut());
        assert_eq!(pipeline.closed_to(Level::Error, Wanting::NOBODY), Some(DropReason::Shutdown));
    });
}
