//! What of the options can follow a changed file while the logger runs: the directives, the rate
//! limit, and which records each output wants. Runs on the writer's thread.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::InitError;
use crate::front::filter::CurrentFilter;
use crate::front::filter_doubts::FilterDoubts;
use crate::front::output_filters::OutputFilters;
use crate::queue::rate_limit::Limit;
use crate::record::Notice;
use crate::wanted::Wanted;

use super::{Builder, NO_LIMIT_PER};

type Read = dyn Fn(&str) -> Result<Builder, Box<dyn Error + Send + Sync>> + Send + Sync;

/// A file to follow, and the program's code that reads it.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(super) path: PathBuf,
    pub(super) read: Arc<Read>,
}

impl Watched {
    pub(crate) fn new<E>(
        path: impl Into<PathBuf>,
        read: impl Fn(&str) -> Result<Builder, E> + Send + Sync + 'static,
    ) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self { path: path.into(), read: Arc::new(move |text| read(text).map_err(Into::into)) }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.path).finish()
    }
}

/// The parts of a running logger that change.
pub(super) struct Live {
    pub(super) filter: Arc<CurrentFilter>,
    pub(super) limit: Arc<Limit>,
    /// The outputs in their places: their names, and what they wanted at the start.
    pub(super) outputs: Vec<(Arc<str>, Wanted)>,
    /// The directives of the environment, which stay on top of those of the file.
    pub(super) environment: Option<String>,
}

impl Live {
    /// Does what the options say, as far as a running logger can, or nothing. Returns the line on
    /// directives that match nothing.
    pub(super) fn follow(&self, options: Builder) -> Result<Option<Notice>, InitError> {
        options.check_rate_limit()?;
        let doubts = FilterDoubts::of(options.doubtful());
        let mut outputs = OutputFilters::new();
        let of_file = options.wanted();
        for (name, at_start) in &self.outputs {
            let named = of_file.iter().find(|(other, _)| other == name);
            let added = outputs.add(named.map_or(at_start, |(_, wanted)| wanted));
            added.map_err(|error| InitError::OutputFilter { output: name.to_string(), error })?;
        }
        let mut directives = vec![options.filter.level.to_string().to_lowercase()];
        directives.extend(options.filter.directives.into_iter().chain(self.environment.clone()));
        self.filter.replace(directives, outputs).map_err(InitError::Filter)?;
        let (records, per) = options.queue.rate_limit.unwrap_or((0, NO_LIMIT_PER));
        self.limit.set(records, per);
        Ok(doubts.notice())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use log::LevelFilter;

    use super::*;
    use crate::front::filter::{Filter, Layers};

    #[test]
    fn the_directives_of_the_environment_stay_on_top_of_those_of_a_changed_file() {
        let environment = || Some("hyper=trace".to_owned());
        let mut outputs = OutputFilters::new();
        outputs.add(&Wanted::EVERYTHING).unwrap();
        let layers = Layers { set: environment().into_iter().collect(), pushed: Vec::new() };
        let filter = Filter::new(LevelFilter::Info, layers, &Arc::new(outputs)).unwrap();
        let live = Live {
            filter: Arc::new(CurrentFilter::new(filter, LevelFilter::Info)),
            limit: Limit::new(0, NO_LIMIT_PER),
            outputs: vec![("app.log".into(), Wanted::EVERYTHING)],
            environment: environment(),
        };
        live.follow(Builder::new().level(LevelFilter::Warn).filter("hyper=off,shop=debug")).unwrap();
        let levels = |target: &str| {
            let enabled = |level: &log::Level| {
                let metadata = log::Metadata::builder().level(*level).target(target).build();
                live.filter.load().enabled(&metadata)
            };
            log::Level::iter().filter(enabled).last()
        };
        assert_eq!(levels("hyper"), Some(log::Level::Trace));
        assert_eq!(levels("shop"), Some(log::Level::Debug));
        assert_eq!(levels("other"), Some(log::Level::Warn));

        // A bad file changes nothing.
        let bad = Builder::new().level(LevelFilter::Trace).rate_limit(0, Duration::from_secs(1));
        assert!(live.follow(bad).is_err());
        assert_eq!(levels("other"), Some(log::Level::Warn));
    }
}
