//! The program's callback, called on the writer's thread.

use crate::event::{Event, EventHook};
use crate::os::ProgramSignals;

use super::guard::guarded;

/// The program's callback.
pub(crate) struct Events {
    pub(super) on_event: Option<EventHook>,
}

impl Events {
    pub(super) fn raise(&mut self, event: Event) {
        if let Some(on_event) = &mut self.on_event {
            let _signals = ProgramSignals::new();
            // A callback that panics is a defect of the program; the panic hook has reported it.
            let _ = guarded(|| on_event(&event));
        }
    }
}
