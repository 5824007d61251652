//! The outputs of a plan, made from those that the program asks for: their names, their absolute
//! paths, what each is offered, and the checks that need no file system. Runs on the thread that
//! sets the logger up, and on the writer's thread when a followed file has changed.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::disk;
use crate::error::{BadOption, InitError};
use crate::event::output_name;
use crate::format::Format;
use crate::front::output_filters::OutputFilters;
use crate::os;
use crate::sink::console::Console;
#[cfg(all(feature = "journald", target_os = "linux"))]
use crate::sink::journald::Journald;
use crate::sink::log_file::{Access, Account, FileOptions, Start};
#[cfg(all(feature = "syslog", unix))]
use crate::sink::socket;
#[cfg(all(feature = "syslog", unix))]
use crate::sink::syslog::Syslog;
use crate::wanted::{Levels, MOST_FILTERED, Offered, Wanted, Wanting};
use crate::zone::Zone;

use super::PlannedOutput;
/// The destination of an output, with its options.
#[derive(Clone, Debug)]
pub(crate) enum Destination {
    File {
        path: PathBuf,
        options: FileOptions,
    },
    Console(Console),
    #[cfg(all(feature = "syslog", unix))]
    Syslog(Syslog),
    #[cfg(all(feature = "journald", target_os = "linux"))]
    Journald(Journald),
    /// A sink of the program's own, and its place among those.
    Sink {
        name: String,
        place: usize,
    },
}

impl Destination {
    pub(crate) fn name(&self) -> Arc<str> {
        match self {
            Destination::File { path, .. } => output_name(path),
            Destination::Console(Console { stream: disk::Stream::Stderr, .. }) => "stderr".into(),
            Destination::Console(Console { stream: disk::Stream::Stdout, .. }) => "stdout".into(),
            #[cfg(all(feature = "syslog", unix))]
            Destination::Syslog(syslog) => syslog.name().into(),
            #[cfg(all(feature = "journald", target_os = "linux"))]
            Destination::Journald(_) => "journald".into(),
            Destination::Sink { name, .. } => name.as_str().into(),
        }
    }

    /// Returns true if further outputs of its name are numbered. No other output may have the name
    /// of a sink of the program's own, or of a stream.
    fn is_numbered(&self) -> bool {
        match self {
            Destination::Console(_) | Destination::Sink { .. } => false,
            Destination::File { .. } => true,
            #[cfg(all(feature = "syslog", unix))]
            Destination::Syslog(_) => true,
            #[cfg(all(feature = "journald", target_os = "linux"))]
            Destination::Journald(_) => true,
        }
    }

    /// Makes the path of a local socket absolute. That of a file is for [`Paths`]. The error is the
    /// option whose path cannot be that of a socket.
    fn make_path_absolute(&mut self) -> Result<(), BadOption> {
        match self {
            Destination::File { .. } | Destination::Console(_) | Destination::Sink { .. } => Ok(()),
            #[cfg(all(feature = "syslog", unix))]
            Destination::Syslog(syslog) => match &mut syslog.to {
                socket::Destination::Unix(path) => make_socket_absolute(path, "unix"),
                socket::Destination::Udp(_) | socket::Destination::Tcp(_) => Ok(()),
            },
            #[cfg(all(feature = "journald", target_os = "linux"))]
            Destination::Journald(journald) => make_socket_absolute(&mut journald.path, "socket"),
        }
    }

    /// Checks that the options are in their ranges.
    fn check(&self) -> Result<(), BadOption> {
        match self {
            Destination::File { options, .. } => options.check(),
            Destination::Console(console) => console.backlog.check(),
            #[cfg(all(feature = "syslog", unix))]
            Destination::Syslog(syslog) => syslog.check(),
            #[cfg(all(feature = "journald", target_os = "linux"))]
            Destination::Journald(journald) => journald.backlog.check(),
            Destination::Sink { .. } => Ok(()),
        }
    }
}

/// An output as the program has asked for it.
#[derive(Debug)]
pub(crate) struct OutputOptions {
    pub(crate) wanted: Wanted,
    pub(crate) format: Option<Format>,
    pub(crate) destination: Destination,
    /// It takes what the output before it cannot take.
    pub(crate) stands_in: bool,
}

/// Says whether the levels and filters of the outputs may change while the logger runs.
#[derive(Clone, Copy)]
pub(crate) enum Filtering {
    /// An output without a filter never gets one.
    Fixed,
    /// A file is followed: any output may get another filter or other levels.
    MayChange,
}

/// Returns the names of the outputs for events and counters. The second of two daemons with one
/// name is called `syslog 2`. Outputs that stand in for others are named last, so that they change
/// no other name.
pub(crate) fn output_names(outputs: &[OutputOptions]) -> Vec<Arc<str>> {
    let mut names: Vec<_> = outputs.iter().map(|output| output.destination.name()).collect();
    let (others, stand_ins): (Vec<_>, Vec<_>) = (0..outputs.len()).partition(|place| !outputs[*place].stands_in);
    let mut numbered: Vec<Arc<str>> = Vec::new();
    for place in others.into_iter().chain(stand_ins).filter(|place| outputs[*place].destination.is_numbered()) {
        let (mut name, mut number) = (names[place].clone(), 1);
        while numbered.contains(&name) {
            number += 1;
            name = format!("{} {number}", names[place]).into();
        }
        numbered.push(name.clone());
        names[place] = name;
    }
    names
}

/// Checks the outputs one by one and against each other, without asking the file system: that is
/// left to [`Look`](super::Look).
pub(crate) fn plan_outputs(
    outputs: Vec<OutputOptions>,
    format: &Format,
    filtering: Filtering,
) -> Result<(Vec<PlannedOutput>, OutputFilters), InitError> {
    let started = SystemTime::now();
    let mut paths = Paths::default();
    let mut planned: Vec<PlannedOutput> = Vec::new();
    let mut filters = OutputFilters::new();
    // One zone for all outputs, and for a forked child; not read if no output wants it.
    let mut zone = None;
    let mut zone = || zone.get_or_insert_with(Zone::local).clone();
    let names = output_names(&outputs);
    for (name, output) in names.into_iter().zip(outputs) {
        let OutputOptions { wanted, format: own_format, mut destination, stands_in } = output;
        let format = own_format.unwrap_or_else(|| format.clone()).host(os::host_name).zone(&mut zone).started(started);
        check_name(&name, &destination, &planned)?;
        check_levels(&wanted, &name)?;
        let checked = destination.make_path_absolute().and_then(|()| destination.check());
        checked.map_err(|bad| bad.of_output(&name))?;
        match &mut destination {
            Destination::File { path, options } => {
                // Two loggers that are set up with clones of one `LogFile` share nothing.
                options.start = Start { zone: options.rotation.local_time.then(&mut zone), ..Start::default() };
                // Looked up here: later the program may live in a jail.
                let Access { owner, group, .. } = &mut options.access;
                let found = find(owner, "owner", os::user_id).and_then(|()| find(group, "group", os::group_id));
                found.map_err(|bad| bad.of_output(&name))?;
                paths.add(path, options)?;
            }
            Destination::Console(console) => console.color = console.color.by_environment(),
            _ => {}
        }
        format.check().map_err(|bad| bad.of_output(&name))?;
        let offered = if stands_in {
            offer_if_refused(&wanted, &name, planned.last())?
        } else {
            offer(&wanted, &name, filtering, &mut filters)?
        };
        planned.push(PlannedOutput { name, offered, format, destination });
    }
    paths.check()?;
    Ok((planned, filters))
}

/// Checks that the range of levels is not reversed.
fn check_levels(wanted: &Wanted, name: &str) -> Result<(), InitError> {
    let Some(reversed) = &wanted.reversed else { return Ok(()) };
    let range = "from the less verbose to the more verbose level, as Warn..=Info";
    Err(BadOption::new("levels", reversed, range).of_output(name).into())
}

/// Returns what an output is offered: the records that its levels and its filter let through. Adds
/// the filter to `filters`.
fn offer(wanted: &Wanted, name: &str, filtering: Filtering, filters: &mut OutputFilters) -> Result<Offered, InitError> {
    let option = match filtering {
        Filtering::Fixed if !wanted.has_filter() => return Ok(filters.add_plain(wanted.levels)),
        Filtering::Fixed => "filter",
        Filtering::MayChange => "watch",
    };
    if filters.filtered() == MOST_FILTERED {
        return Err(InitError::Option {
            option,
            value: format!("given for output `{name}`, too"),
            range: "given for at most 16 outputs",
        });
    }
    let offered = filters.add(wanted);
    let offered = offered.map_err(|error| InitError::OutputFilter { output: name.to_owned(), error })?;
    Ok(match filtering {
        Filtering::Fixed => offered,
        // The levels that the output wants may change, so each record carries whether it is wanted.
        Filtering::MayChange => Offered { levels: Levels::ALL, ..offered },
    })
}

/// Returns what an output is offered that stands in for the one before it.
fn offer_if_refused(wanted: &Wanted, name: &str, before: Option<&PlannedOutput>) -> Result<Offered, InitError> {
    let bad = |name: &str, what| {
        let value = format!("`{name}`, with {what} of its own");
        Err(BadOption::new("otherwise", value, "an output without one").into())
    };
    if let Some(before) = before.filter(|before| before.offered.stands_in) {
        return bad(&before.name, "an `otherwise`");
    }
    if wanted.has_filter() {
        return bad(name, "a filter");
    }
    Ok(Offered { levels: wanted.levels, filtered: Some(Wanting::NOBODY), stands_in: true })
}

/// Checks that no other output has this name.
fn check_name(name: &str, destination: &Destination, planned: &[PlannedOutput]) -> Result<(), InitError> {
    let Some(other) = planned.iter().find(|other| &*other.name == name) else { return Ok(()) };
    let (option, range) = match (destination, &other.destination) {
        (Destination::Sink { .. }, _) | (_, Destination::Sink { .. }) => ("sink", "a name of its own"),
        (Destination::Console(_), _) | (_, Destination::Console(_)) => ("console", "a stream of its own"),
        _ => return Ok(()),
    };
    Err(InitError::Option { option, value: format!("`{name}`, which another output is already"), range })
}

/// The paths of the outputs, of which no two may be the same.
#[derive(Default)]
struct Paths {
    files: Vec<PathBuf>,
    links: Vec<PathBuf>,
}

impl Paths {
    /// Adds a file. Its paths become absolute.
    fn add(&mut self, path: &mut PathBuf, options: &mut FileOptions) -> Result<(), InitError> {
        let absolute = log_path(path, "file")?;
        if let Some(link) = &options.symlink {
            let absolute_link = log_path(link, SYMLINK)?;
            if absolute_link == absolute || self.links.contains(&absolute_link) {
                return Err(InitError::SamePath { path: link.clone(), option: SYMLINK });
            }
            self.links.push(absolute_link.clone());
            options.symlink = Some(absolute_link);
        }
        if self.files.contains(&absolute) {
            return Err(InitError::SamePath { path: path.clone(), option: "file" });
        }
        self.files.push(absolute.clone());
        *path = absolute;
        Ok(())
    }

    /// Checks that no link has the path of a file.
    fn check(&self) -> Result<(), InitError> {
        match self.links.iter().find(|link| self.files.contains(link)) {
            Some(link) => Err(InitError::SamePath { path: link.clone(), option: SYMLINK }),
            None => Ok(()),
        }
    }
}

/// Makes the path of a local socket absolute, which `option` has given.
#[cfg(all(feature = "syslog", unix))]
fn make_socket_absolute(path: &mut PathBuf, option: &'static str) -> Result<(), BadOption> {
    match socket::address_path(path) {
        Ok(absolute) => *path = absolute,
        Err(range) => return Err(BadOption::new(option, format!("`{}`", path.display()), range)),
    }
    Ok(())
}

/// Replaces the name of a user or a group by its number.
fn find(account: &mut Option<Account>, option: &'static str, id: fn(&str) -> Option<u32>) -> Result<(), BadOption> {
    #[cfg(unix)]
    const RANGE: &str = "a name or a number that this system knows";
    #[cfg(not(unix))]
    const RANGE: &str = "left out, because this system has no such owners of files";

    let Some(Account::Named(name)) = account else { return Ok(()) };
    let Some(id) = id(name) else {
        return Err(BadOption::new(option, format!("`{name}`"), RANGE));
    };
    *account = Some(Account::Numbered(id));
    Ok(())
}

/// Names that only a shell expands, to the home directory. Nobody gives them to a directory.
const UNEXPANDED: [&str; 3] = ["~", "$HOME", "${HOME}"];

/// The option for the link that leads to a file.
pub(super) const SYMLINK: &str = "symlink";

/// Returns the absolute path of an option, which stays valid when the program changes its
/// directory.
///
/// # Errors
///
/// The path can never work for this option.
fn log_path(path: &Path, option: &'static str) -> Result<PathBuf, InitError> {
    let unfit = |what| InitError::Path { path: path.to_owned(), what, option };
    if let Some(what) = disk::unfit_path(path) {
        return Err(unfit(what));
    }
    if matches!(path.components().next(), Some(Component::Normal(first)) if UNEXPANDED.iter().any(|name| first == *name))
    {
        return Err(unfit("in a directory whose name only a shell expands: write the whole path"));
    }
    std::path::absolute(path).map_err(|_| unfit("relative, and there is no current directory"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::log_file::LogFile;
    use crate::{Builder, SinkOutput};

    #[test]
    fn a_directory_that_only_a_shell_expands_is_an_error_and_one_that_begins_so_is_not() {
        for path in ["~/app.log", "$HOME/app.log", "${HOME}/log/app.log"] {
            let error = log_path(Path::new(path), "file").unwrap_err().to_string();
            assert!(error.contains(path) && error.contains("only a shell expands"), "{error}");
        }
        for path in ["~backup/app.log", "logs/~/app.log", "app~.log"] {
            assert!(log_path(Path::new(path), "file").is_ok(), "{path}");
        }
    }

    #[test]
    fn two_outputs_of_one_name_are_an_error_that_names_it() {
        let memory = |name: &str| SinkOutput::writer(name, Vec::new());
        let builders = [
            (Builder::new().output(memory("alarm")).output(memory("alarm")), "option `sink` is `alarm`"),
            (Builder::new().console(Console::stderr()).output(memory("stderr")), "option `sink` is `stderr`"),
            (Builder::new().output(memory("stdout")).console(Console::stdout()), "option `sink` is `stdout`"),
            (Builder::new().output(memory("app.log")).file("app.log"), "option `sink` is `app.log`"),
            (Builder::new().console(Console::stderr()).console(Console::stderr()), "option `console` is `stderr`"),
            (Builder::new().console(Console::stderr()).file("stderr"), "option `console` is `stderr`"),
        ];
        for (builder, expected) in builders {
            let error = builder.build().unwrap_err().to_string();
            assert!(error.starts_with(expected) && error.contains("of its own"), "{error}");
        }
        assert!(Builder::new().output(memory("alarm")).output(memory("bell")).build().is_ok());
    }

    #[test]
    fn an_option_of_an_output_that_is_wrong_is_an_error_that_names_the_output() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let sound = LogFile::new(at("sound.log"));
        let file = || LogFile::new("wrong.log");
        let wrong = [
            (file().max_files(0), "option `max_files` is 0 for output `wrong.log`"),
            (file().mode(640), "option `mode` is 640 (not octal: 0o640 is meant) for output `wrong.log`"),
            (file().owner("no such user"), "option `owner` is `no such user` for output `wrong.log`"),
            (file().levels(log::LevelFilter::Info..=log::LevelFilter::Warn), "is Info..=Warn for output `wrong.log`"),
            (file().format(Format::pattern("{lvl}")), "is not a known part) for output `wrong.log`"),
            (file().otherwise(LogFile::new("b.log").max_files(0)), "option `max_files` is 0 for output `b.log`"),
        ];
        for (file, expected) in wrong {
            let error = Builder::new().file(sound.clone()).file(file).build().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let nested = file().otherwise(LogFile::new("b.log").otherwise(Console::stderr()));
        let error = Builder::new().file(nested).build().unwrap_err().to_string();
        assert!(error.starts_with("option `otherwise` is `b.log`, with an `otherwise` of its own"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_that_cannot_be_one_is_an_error_that_names_its_option() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let file = LogFile::new(at("app.log"));
        for link in [PathBuf::new(), dir.path().to_owned(), at("app.log"), at("other.log")] {
            let builder = Builder::new().file(file.clone().symlink(link)).file(at("other.log"));
            let error = builder.build().unwrap_err().to_string();
            assert!(error.starts_with("option `symlink`: `") && error.contains("link"), "{error}");
        }
    }

    #[cfg(all(feature = "syslog", unix))]
    #[test]
    fn daemons_of_one_name_are_numbered_and_one_that_stands_in_comes_last() {
        let daemon = |path: &str| Syslog::unix(path);
        let builder = Builder::new().file(LogFile::new("/dev/null").otherwise(daemon("/a")));
        let (logger, handle) = builder.syslog(daemon("/b")).syslog(daemon("/c")).build().unwrap();
        let names: Vec<_> = handle.stats().outputs.into_iter().map(|output| output.name).collect();
        assert_eq!(names, ["/dev/null", "syslog 3", "syslog", "syslog 2"]);
        drop(logger);
        let builder = Builder::new().syslog(daemon("/b")).output(SinkOutput::writer("syslog 2", Vec::new()));
        let error = builder.syslog(daemon("/c")).build().unwrap_err().to_string();
        assert!(error.starts_with("option `sink` is `syslog 2`"), "{error}");
    }
}
