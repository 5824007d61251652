//! A gate that was shut stays shut.

use log::Level;
use loom::thread;

use crate::os::AtExit;
use crate::queue::{Gate, Overflow};
use crate::stats::DropReason;

use super::{check, queue};

#[test]
fn loom_the_writer_never_opens_a_gate_that_was_shut() {
    check(9, || {
        let queue = queue(1, Overflow::DropNewest);
        let stopper = {
            let queue = queue.clone();
            thread::spawn(move || {
                queue.begin();
                assert!(queue.is_shut());
            })
        };
        let mut closed = Gate::OPEN;
        closed.close(Level::Info, DropReason::DiskFull);
        queue.set_gate(closed);
        queue.set_gate(Gate::OPEN);
        stopper.join().unwrap();
        queue.set_gate(Gate::OPEN);
        assert!(queue.is_shut());
        assert_eq!(queue.closed_to(Level::Error), Some(DropReason::Shutdown));
    });
}
