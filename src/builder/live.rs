//! The options that follow a changed file while the logger runs: the directives, the rate limit,
//! and which records each output wants. Runs on the writer's thread.

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

use super::Builder;

type Read = dyn Fn(&str) -> Result<Builder, Box<dyn Error + Send + Sync>> + Send + Sync;

/// A file to follow, and the program's code that reads it.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(super) path: PathBuf,
    pub(super) read: Arc<Read>,
    /// The number of outputs in the file at the start, if the file may name outputs.
    pub(super) outputs: Option<usize>,
}

impl Watched {
    pub(crate) fn new<E>(
        path: impl Into<PathBuf>,
        read: impl Fn(&str) -> Result<Builder, E> + Send + Sync + 'static,
    ) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self { path: path.into(), read: Arc::new(move |text| read(text).map_err(Into::into)), outputs: None }
    }

    /// Sets the number of outputs in the file at the start.
    #[cfg(feature = "serde")]
    pub(crate) fn with_outputs(self, outputs: usize) -> Self {
        Self { outputs: Some(outputs), ..self }
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
    /// All outputs came from the file: a file that names none is refused, as at the start.
    pub(super) of_file_alone: bool,
    /// The directives of the environment, which stay on top of those of the file.
    pub(super) environment: Option<String>,
}

impl Live {
    /// Applies the options that a running logger can follow, all of them or none. Returns the line
    /// about directives that match nothing.
    pub(super) fn follow(&self, options: Builder) -> Result<Option<Notice>, InitError> {
        options.check_queue()?;
        if self.of_file_alone && options.outputs.is_empty() {
            return Err(InitError::NoOutput);
        }
        let doubts = FilterDoubts::of(options.doubtful());
        let mut outputs = OutputFilters::new();
        let of_file = options.wanted();
        Builder::check_outputs(options.outputs, &options.format)?;
        for (name, at_start) in &self.outputs {
            let named = of_file.iter().find(|(other, _)| other == name);
            let added = outputs.add(named.map_or(at_start, |(_, wanted)| wanted));
            added.map_err(|error| InitError::OutputFilter { output: name.to_string(), error })?;
        }
        let directives = options.filter.directives.into_iter().chain(self.environment.clone()).collect();
        self.filter.replace(options.filter.level, directives, outputs).map_err(InitError::Filter)?;
        let (records, per) = options.queue.limit();
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
    use crate::{Console, Format, LogFile};

    const SECOND: Duration = Duration::from_secs(1);

    /// A logger with one output, `app.log`.
    fn live(environment: Option<&str>) -> Live {
        let mut outputs = OutputFilters::new();
        outputs.add(&Wanted::EVERYTHING).unwrap();
        let environment = environment.map(str::to_owned);
        let layers = Layers { set: environment.clone().into_iter().collect(), pushed: Vec::new() };
        let filter = Filter::new(LevelFilter::Info, layers, &Arc::new(outputs)).unwrap();
        Live {
            filter: Arc::new(CurrentFilter::new(filter, false)),
            limit: Limit::new(0, SECOND),
            outputs: vec![("app.log".into(), Wanted::EVERYTHING)],
            of_file_alone: false,
            environment,
        }
    }

    #[test]
    fn the_directives_of_the_environment_stay_on_top_of_those_of_a_changed_file() {
        let live = live(Some("hyper=trace"));
        live.follow(Builder::new().level(LevelFilter::Warn).filter("hyper=off,shop=debug")).unwrap();
        assert_eq!(live.filter.directives(), "warn,shop=debug,hyper=trace");
    }

    /// Such a file was once followed in silence, up to the option that a start refuses.
    #[test]
    fn a_file_that_a_start_would_refuse_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let (wide, log) = (Builder::new().level(LevelFilter::Trace).rate_limit(1, SECOND), at("app.log"));
        let live = live(None);
        let refused = [
            (Builder::new().rate_limit(0, SECOND), "`rate_limit` is 0 records"),
            (Builder::new().capacity(0), "`capacity` is 0"),
            (Builder::new().file(&log).file(&log), "the path of two outputs"),
            (Builder::new().file(dir.path()), "a directory"),
            (Builder::new().file(LogFile::new(&log).max_files(0)), "`max_files` is 0"),
            (Builder::new().file(LogFile::new(&log).filter("app=loud")), "app=loud"),
            (Builder::new().console(Console::stderr()).console(Console::stderr()), "`console` is `stderr`"),
            (Builder::new().file(&log).format(Format::pattern("{lvel}")), "{lvel}"),
        ];
        for (builder, expected) in refused {
            let Err(error) = live.follow(builder.level(LevelFilter::Trace)) else { panic!("{expected}") };
            assert!(error.to_string().contains(expected), "{expected}: {error}");
            assert_eq!(live.filter.directives(), "info", "{expected}");
        }
        let alone = Live { of_file_alone: true, ..self::live(None) };
        assert!(matches!(alone.follow(Builder::new().level(LevelFilter::Trace)), Err(InitError::NoOutput)));
        assert_eq!(alone.filter.directives(), "info");
        // A file without outputs next to those of the code, and one with a user that only a start
        // looks up.
        for builder in [wide, Builder::new().file(LogFile::new(&log).owner("no such user")).level(LevelFilter::Trace)] {
            live.follow(builder).unwrap();
            assert_eq!(live.filter.directives(), "trace");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is created");
    }

    #[test]
    fn directives_that_are_set_after_a_change_are_on_top_of_the_level_of_the_file() {
        let live = live(None);
        live.follow(Builder::new().level(LevelFilter::Warn).filter("shop=debug")).unwrap();
        live.filter.set("hyper=debug").unwrap();
        assert_eq!(live.filter.directives(), "warn,hyper=debug");
        let metadata = |level| log::Metadata::builder().level(level).target("shop").build();
        let enabled = log::Level::iter().filter(|level| live.filter.load().enabled(&metadata(*level)));
        assert_eq!(enabled.last(), Some(log::Level::Warn));
    }
}
