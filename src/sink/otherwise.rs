//! `Otherwise`: the output that takes what matters while another one is suspended. A plain value,
//! made on the thread that sets the logger up.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Holds the output that `LogFile::otherwise` and `Console::otherwise` are given: made from a
/// [`LogFile`](crate::LogFile), a [`Console`](crate::Console), a
/// [`SinkOutput`](crate::SinkOutput), or with their features from a `Syslog` or a `Journald`.
///
/// ```
/// use unfazed::{Console, LogFile};
///
/// let file = LogFile::new("app.log").otherwise(Console::stderr());
/// ```
#[derive(Clone)]
pub struct Otherwise {
    /// The options of one kind of output. The kinds may have an `Otherwise` themselves, so this
    /// file names none of them.
    options: Arc<dyn Any + Send + Sync>,
    shown: Arc<str>,
}

impl Otherwise {
    pub(crate) fn new(options: impl Any + fmt::Debug + Send + Sync) -> Self {
        Self { shown: format!("{options:?}").into(), options: Arc::new(options) }
    }

    /// Returns the options if they are of this kind.
    pub(crate) fn options<T: Any>(&self) -> Option<&T> {
        self.options.downcast_ref()
    }
}

impl fmt::Debug for Otherwise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}
