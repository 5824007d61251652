//! Which records the program wants: env_logger's directives, exchangeable while threads log. Read
//! on the caller's thread.
//!
//! Walking the directives costs more the more there are, so each thread remembers what they came to
//! for the targets it logs to.

use std::cell::Cell;
use std::sync::Arc;

use log::{Level, LevelFilter, Metadata};

use crate::error::FilterError;
use crate::record::Site;
use crate::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use crate::sync::swap::{ArcSwap, Guard};
use crate::sync::{process_wide, thread_local};
use crate::wanted::{Levels, Wanting};

use super::directives::Directives;
use super::grammar::{split_pattern, target_of};
#[cfg(feature = "tracing")]
use super::interest::Interest;
use super::output_filters::{OutputFilters, Takers};
use super::program::{Question, is_asking};

/// What a filter is made of: texts of directives, each over those before it.
#[derive(Clone, Default)]
pub(crate) struct Layers {
    /// In force until they are replaced.
    pub(crate) set: Vec<String>,
    /// For a while, on top of those; each with the number by which it is taken back.
    pub(crate) pushed: Vec<(u64, String)>,
}

/// The directives in force and the filters of the outputs, ready to be asked.
pub(crate) struct Filter {
    /// The level of what the layers do not name.
    base: LevelFilter,
    layers: Layers,
    directives: Directives,
    outputs: Arc<OutputFilters>,
    /// No level above this passes: the directives' own maximum, and what the outputs take.
    max_level: LevelFilter,
}

impl Filter {
    /// Parses the layers on top of `base`.
    pub(crate) fn new(base: LevelFilter, layers: Layers, outputs: &Arc<OutputFilters>) -> Result<Self, FilterError> {
        let texts = layers.set.iter().chain(layers.pushed.iter().map(|(_, text)| text));
        let directives = Directives::new(base, texts)?;
        let max_level = directives.max_level().min(outputs.max_level());
        Ok(Self { base, layers, directives, outputs: outputs.clone(), max_level })
    }

    /// Returns true if a record passes, as far as its metadata say.
    pub(crate) fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !self.takers(metadata).is_nobody()
    }

    /// Returns the outputs with filters that want a line by its level and target. It has been
    /// filtered elsewhere.
    #[cfg(feature = "tracing")]
    pub(crate) fn wanting_line(&self, level: Level, target: &str) -> Wanting {
        self.outputs.takers(&Metadata::builder().level(level).target(target).build()).wanting
    }

    /// Returns those of these outputs that want a line with this text.
    #[cfg(feature = "tracing")]
    pub(crate) fn wanting_text(&self, line: &str, level: Level, wanting: Wanting) -> Wanting {
        self.outputs.takers_of(line, level, wanting).wanting
    }

    /// Returns the outputs that want a record, as far as its metadata say.
    fn takers(&self, metadata: &Metadata<'_>) -> Takers {
        if metadata.level() <= self.max_level && self.directives.enabled(metadata) {
            self.outputs.takers(metadata)
        } else {
            Takers::NOBODY
        }
    }

    /// Returns the outputs with filters that want a record with this message, among those that want
    /// it by its metadata; nothing if the record does not pass.
    pub(crate) fn wanting(&self, message: &str, level: Level, wanting: Wanting) -> Option<Wanting> {
        let takers = self.outputs.takers_of(message, level, wanting);
        (self.directives.takes(message) && !takers.is_nobody()).then_some(takers.wanting)
    }

    /// Returns what the directives come to for every record of one target.
    fn verdict(&self, target: &str) -> Verdict {
        let mut verdict = Verdict { needs_message: self.looks_at_messages(), ..Verdict::NOTHING };
        for level in Level::iter() {
            verdict.add(level, self.takers(&Metadata::builder().level(level).target(target).build()));
        }
        verdict
    }

    fn looks_at_messages(&self) -> bool {
        self.directives.has_pattern() || self.outputs.look_at_messages()
    }

    pub(crate) fn max_level(&self) -> LevelFilter {
        self.max_level
    }
}

/// Returns the directives that `filter_env` found in a variable: the good ones, and what to say of
/// the others.
pub(crate) fn split_env(text: &str) -> (String, Vec<FilterError>) {
    let (levels, pattern) = split_pattern(text);
    let mut errors = Vec::new();
    let mut sound = |directives: &str| {
        let checked = Directives::new(LevelFilter::Off, [&directives.to_owned()]);
        checked.map_err(|error| errors.push(error)).is_ok()
    };
    let mut good = levels.split(',').filter(|directive| sound(directive)).collect::<Vec<_>>().join(",");
    if let Some(pattern) = pattern.map(|pattern| format!("/{pattern}")).filter(|pattern| sound(pattern)) {
        good.push_str(&pattern);
    }
    (good, errors)
}

/// What a filter says of one target.
#[derive(Clone, Copy)]
pub(crate) struct Verdict {
    /// The levels that pass.
    levels: Levels,
    /// The message must be known: it also decides, or it is printed at once.
    pub(crate) needs_message: bool,
    /// For each level, the outputs with filters that want it.
    wanting: [Wanting; 5],
}

impl Verdict {
    const NOTHING: Self = Self { levels: Levels::NONE, needs_message: false, wanting: [Wanting::NOBODY; 5] };

    fn add(&mut self, level: Level, takers: Takers) {
        if !takers.is_nobody() {
            self.levels.insert(level);
            self.wanting[level as usize - 1] = takers.wanting;
        }
    }

    /// Returns true if records of this level pass.
    #[inline]
    pub(crate) fn passes(&self, level: Level) -> bool {
        self.levels.has(level)
    }

    /// Returns the verdict on a record of this level.
    #[inline]
    pub(crate) fn on(&self, level: Level) -> RecordVerdict {
        let wanting = self.wanting[level as usize - 1];
        RecordVerdict { passes: self.passes(level), needs_message: self.needs_message, wanting }
    }
}

/// The verdict of a filter on one record, by its metadata.
#[derive(Clone, Copy)]
pub(crate) struct RecordVerdict {
    pub(crate) passes: bool,
    /// The message must be known: it also decides, or it is printed at once.
    pub(crate) needs_message: bool,
    /// The outputs with filters that want the record.
    pub(crate) wanting: Wanting,
}

/// A verdict that a thread remembers. Each part has a cell of its own, so that a call copies only
/// those that it needs.
struct Remembered {
    /// The version of the filter it comes from; 0: none.
    version: Cell<u64>,
    /// The address and the length of the target's text. The text is static, so they stand for it.
    target: Cell<(usize, usize)>,
    levels: Cell<Levels>,
    needs_message: Cell<bool>,
    wanting: [Cell<Wanting>; 5],
}

impl Remembered {
    const fn nothing() -> Self {
        Self {
            version: Cell::new(0),
            target: Cell::new((0, 0)),
            levels: Cell::new(Levels::NONE),
            needs_message: Cell::new(false),
            wanting: [const { Cell::new(Wanting::NOBODY) }; 5],
        }
    }

    fn set(&self, version: u64, target: (usize, usize), verdict: Verdict) {
        self.target.set(target);
        self.levels.set(verdict.levels);
        self.needs_message.set(verdict.needs_message);
        self.wanting.iter().zip(verdict.wanting).for_each(|(cell, wanting)| cell.set(wanting));
        self.version.set(version);
    }

    fn verdict(&self) -> Verdict {
        Verdict {
            levels: self.levels.get(),
            needs_message: self.needs_message.get(),
            wanting: std::array::from_fn(|level| self.wanting[level].get()),
        }
    }

    #[inline]
    fn on(&self, level: Level) -> RecordVerdict {
        RecordVerdict {
            passes: self.levels.get().has(level),
            needs_message: self.needs_message.get(),
            wanting: self.wanting[level as usize - 1].get(),
        }
    }
}

/// This many bits of what a log call remembers are the levels that pass, the others the version.
const LEVEL_BITS: u32 = u8::BITS;

/// The number of targets that a thread remembers, a power of two. Of two targets in one slot, the
/// newer one stays.
const REMEMBERED: usize = 64;

thread_local! {
    /// No destructor: a log call in the destructor of another thread-local finds it as well.
    static VERDICTS: [Remembered; REMEMBERED] = const { [const { Remembered::nothing() }; REMEMBERED] };
}

/// A verdict on a target that may be anywhere: its text is remembered.
#[derive(Clone, Copy)]
struct RememberedText {
    /// The version of the filter it comes from; 0: none.
    version: u64,
    verdict: Verdict,
    len: usize,
    text: [u8; LONGEST_TEXT],
}

impl RememberedText {
    const NOTHING: Self = Self { version: 0, verdict: Verdict::NOTHING, len: 0, text: [0; LONGEST_TEXT] };
}

/// A longer target that is not the module path walks the directives each time.
const LONGEST_TEXT: usize = 46;
const TEXTS_REMEMBERED: usize = 16;

thread_local! {
    /// No destructor: a log call in the destructor of another thread-local finds it as well.
    static TEXTS: [Cell<RememberedText>; TEXTS_REMEMBERED] = const {
        [const { Cell::new(RememberedText::NOTHING) }; TEXTS_REMEMBERED]
    };
}

/// Returns the address and the length of a text.
#[inline]
fn place_of(text: &str) -> (usize, usize) {
    (text.as_ptr() as usize, text.len())
}

/// Returns the slot of a target at this address, out of `among` slots, a power of two.
#[inline]
fn slot(place: usize, among: usize) -> usize {
    // Fibonacci hashing (Knuth): the upper bits of the product are well mixed.
    ((place as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - among.ilog2())) as usize
}

/// Returns a number that no other filter of this process has, whichever logger it belongs to.
fn new_version() -> u64 {
    process_wide! { static NEXT: AtomicU64 = AtomicU64::new(1); }
    NEXT.fetch_add(1, Relaxed)
}

/// The filter in force, and what a change of it must keep.
pub(crate) struct CurrentFilter {
    filter: ArcSwap<Filter>,
    /// Changes with the filter, and after it.
    version: AtomicU64,
    /// Records are printed on the caller's thread, so their messages must be known there.
    prints: bool,
    /// Set when this logger is the one of the `log` macros, whose level it then keeps in step.
    installed: AtomicBool,
    #[cfg(feature = "tracing")]
    interest: Interest,
}

impl CurrentFilter {
    pub(crate) fn new(filter: Filter, prints: bool) -> Self {
        let version = AtomicU64::new(new_version());
        Self {
            filter: ArcSwap::from_pointee(filter),
            version,
            prints,
            installed: AtomicBool::new(false),
            #[cfg(feature = "tracing")]
            interest: Interest::new(),
        }
    }

    /// Returns what the filter says of this record.
    #[inline]
    pub(crate) fn verdict_on(&self, record: &log::Record<'_>) -> RecordVerdict {
        let level = record.level();
        self.remembered(record, |remembered| remembered.on(level)).unwrap_or_else(|| self.ask(record).on(level))
    }

    /// Returns what the filter says of this record's target; or of this record alone, if its target
    /// is a long one and not the module path.
    pub(crate) fn verdict(&self, record: &log::Record<'_>) -> Verdict {
        self.remembered(record, Remembered::verdict).unwrap_or_else(|| self.ask(record))
    }

    /// Reads what the thread remembers of this record's target, which must be the module path.
    #[inline]
    fn remembered<T>(&self, record: &log::Record<'_>, read: impl FnOnce(&Remembered) -> T) -> Option<T> {
        let place = place_of(record.target());
        if record.module_path_static().map(place_of) != Some(place) {
            return None;
        }
        // Acquire pairs with the Release in `change`: whoever sees a version sees its filter, or a
        // newer one.
        let version = self.version.load(Acquire);
        VERDICTS.with(|verdicts| {
            let remembered = &verdicts[slot(place.0, REMEMBERED)];
            let is_this = (remembered.version.get(), remembered.target.get()) == (version, place);
            is_this.then(|| read(remembered))
        })
    }

    /// Asks the filter about every record of one target.
    fn ask_for(&self, target: &str) -> Verdict {
        let verdict = self.filter.load().verdict(target);
        Verdict { needs_message: verdict.needs_message || self.prints, ..verdict }
    }

    /// Asks the filter about this record's target, and remembers what it says.
    #[inline(never)]
    fn ask(&self, record: &log::Record<'_>) -> Verdict {
        // Acquire: see `remembered`.
        let version = self.version.load(Acquire);
        let place = place_of(record.target());
        if record.module_path_static().map(place_of) != Some(place) {
            return self.verdict_by_text(record, version);
        }
        let verdict = self.ask_for(record.target());
        // While the closure of a filter logs, it is not asked about its own record.
        if !is_asking(Question::Filter) {
            VERDICTS.with(|verdicts| verdicts[slot(place.0, REMEMBERED)].set(version, place, verdict));
        }
        verdict
    }

    /// Returns the verdict that the call site remembers for its module path. The site has one word,
    /// for the filter's version and the levels; a verdict that holds more is remembered by the
    /// thread.
    pub(crate) fn verdict_at(&self, site: &Site, record: &log::Record<'_>) -> Verdict {
        let target = record.target();
        let is_static = record.module_path_static().is_some_and(|path| std::ptr::eq(path, target));
        let remembered = if is_static { self.levels_at(site) } else { None };
        if let Some(levels) = remembered {
            return Verdict { levels, ..Verdict::NOTHING };
        }
        // Acquire: see `remembered`.
        let version = self.version.load(Acquire);
        let verdict = self.verdict(record);
        let is_whole = !verdict.needs_message && verdict.wanting == Verdict::NOTHING.wanting;
        if is_static && is_whole && !is_asking(Question::Filter) {
            site.verdict.store(version << LEVEL_BITS | u64::from(verdict.levels.bits()), Relaxed);
        }
        verdict
    }

    /// Returns the levels that pass at this site with its module path as their target, if the site
    /// remembers them.
    #[inline]
    pub(crate) fn levels_at(&self, site: &Site) -> Option<Levels> {
        // Acquire: see `remembered`. The word needs no order of its own: it holds both the version
        // and the verdict of that version's filter, or of a newer one.
        let version = self.version.load(Acquire);
        let word = site.verdict.load(Relaxed);
        (word >> LEVEL_BITS == version).then(|| Levels::from_bits(word as u8))
    }

    /// Returns the verdict on a target that is not the module path. Its text may not be static, so
    /// its address does not stand for it.
    fn verdict_by_text(&self, record: &log::Record<'_>, version: u64) -> Verdict {
        let target = record.target().as_bytes();
        if target.len() > LONGEST_TEXT {
            let filter = self.filter.load();
            let needs_message = filter.looks_at_messages() || self.prints;
            let mut verdict = Verdict { needs_message, ..Verdict::NOTHING };
            verdict.add(record.level(), filter.takers(record.metadata()));
            return verdict;
        }
        let slot = slot(target.as_ptr() as usize, TEXTS_REMEMBERED);
        let mut remembered = TEXTS.with(|texts| texts[slot].get());
        if remembered.version == version && remembered.text[..remembered.len] == *target {
            return remembered.verdict;
        }
        let verdict = self.ask_for(record.target());
        if is_asking(Question::Filter) {
            return verdict;
        }
        (remembered.version, remembered.len, remembered.verdict) = (version, target.len(), verdict);
        remembered.text[..target.len()].copy_from_slice(target);
        TEXTS.with(|texts| texts[slot].set(remembered));
        verdict
    }

    pub(crate) fn load(&self) -> Guard<Arc<Filter>> {
        self.filter.load()
    }

    /// Replaces what was set; what was pushed stays on top of it.
    pub(crate) fn set(&self, directives: &str) -> Result<(), FilterError> {
        self.change(|layers| layers.set = vec![directives.to_owned()])
    }

    /// Lays directives over those in force, and returns the number by which they are taken back.
    pub(crate) fn push(&self, directives: &str) -> Result<u64, FilterError> {
        let number = new_version();
        self.change(|layers| layers.pushed.push((number, directives.to_owned())))?;
        Ok(number)
    }

    /// Takes back what was pushed under this number; nothing if it has been taken back before.
    pub(crate) fn take_back(&self, number: u64) {
        // The remaining directives have been parsed before.
        let _ = self.change(|layers| layers.pushed.retain(|(other, _)| *other != number));
    }

    /// Returns the directives in force as one text, which means the same if it is set.
    pub(crate) fn directives(&self) -> String {
        let filter = self.filter.load();
        let layers = filter.layers.set.iter().chain(filter.layers.pushed.iter().map(|(_, text)| text));
        let base = filter.base.as_str().to_ascii_lowercase();
        let (mut directives, mut pattern) = (vec![base.as_str()], None);
        for text in layers {
            let (levels, its_pattern) = split_pattern(text);
            directives.extend(levels.split(',').map(str::trim).filter(|directive| !directive.is_empty()));
            pattern = its_pattern.or(pattern);
        }
        // Of two directives for one target the later one is in force.
        let targets: Vec<_> = directives.iter().map(|directive| target_of(directive)).collect();
        let is_last = |at: usize| !targets[at + 1..].contains(&targets[at]);
        let last = directives.iter().enumerate().filter(|(at, _)| is_last(*at)).map(|(_, directive)| *directive);
        let levels = last.collect::<Vec<_>>().join(",");
        pattern.map_or(levels.clone(), |pattern| format!("{levels}/{pattern}"))
    }

    /// Takes back what was pushed last.
    pub(crate) fn pop(&self) {
        // The remaining directives have been parsed before.
        let _ = self.change(|layers| drop(layers.pushed.pop()));
    }

    /// Replaces the base, what was set, and the filters of the outputs; what was pushed stays on
    /// top.
    pub(crate) fn replace(
        &self,
        base: LevelFilter,
        directives: Vec<String>,
        outputs: OutputFilters,
    ) -> Result<(), FilterError> {
        self.change_with(Some((base, &Arc::new(outputs))), |layers| layers.set.clone_from(&directives))
    }

    fn change(&self, change: impl Fn(&mut Layers)) -> Result<(), FilterError> {
        self.change_with(None, change)
    }

    /// Changes the filter without a lock, because a forked child may change its filter, too.
    fn change_with(
        &self,
        others: Option<(LevelFilter, &Arc<OutputFilters>)>,
        change: impl Fn(&mut Layers),
    ) -> Result<(), FilterError> {
        loop {
            let old = self.filter.load_full();
            let mut layers = old.layers.clone();
            change(&mut layers);
            let (base, outputs) = others.unwrap_or((old.base, &old.outputs));
            let new = Arc::new(Filter::new(base, layers, outputs)?);
            if Arc::ptr_eq(&*self.filter.compare_and_swap(&old, new), &old) {
                break;
            }
        }
        // Release: see `remembered`. Acquire: whoever sees this version also sees the filter of a
        // change that came before.
        self.version.swap(new_version(), AcqRel);
        if self.installed.load(Relaxed) {
            self.keep_in_step();
        }
        #[cfg(feature = "tracing")]
        self.interest.rebuild();
        Ok(())
    }

    /// Makes the call sites of `tracing` ask this filter from now on, through a layer of this
    /// subscriber.
    #[cfg(feature = "tracing")]
    pub(crate) fn asked_by(&self, dispatch: &tracing_core::Dispatch) {
        self.interest.register(dispatch);
    }

    /// Sets `log::max_level`; again, if another thread has changed the filter meanwhile.
    fn keep_in_step(&self) {
        loop {
            let max_level = self.load().max_level();
            log::set_max_level(max_level);
            if self.load().max_level() == max_level {
                return;
            }
        }
    }

    /// Makes `log::max_level` follow this filter from now on.
    pub(crate) fn installed(&self) {
        self.installed.store(true, Relaxed);
        self.keep_in_step();
    }
}

#[cfg(test)]
mod tests {
    use log::Level;

    use super::*;

    fn layers(set: &[&str]) -> Layers {
        Layers { set: set.iter().map(|text| (*text).to_owned()).collect(), pushed: Vec::new() }
    }

    fn passes(filter: &Filter, level: Level, target: &str) -> bool {
        filter.enabled(&Metadata::builder().level(level).target(target).build())
    }

    #[test]
    fn directives_override_the_base_for_what_they_name() {
        let filter = Filter::new(
            LevelFilter::Info,
            layers(&["hyper=warn,app=trace"]),
            &OutputFilters::up_to(LevelFilter::Trace),
        )
        .unwrap();
        assert!(passes(&filter, Level::Info, "other"));
        assert!(!passes(&filter, Level::Debug, "other"));
        assert!(!passes(&filter, Level::Info, "hyper::client"));
        assert!(passes(&filter, Level::Trace, "app"));
        assert_eq!(filter.max_level(), LevelFilter::Trace);
    }

    #[test]
    fn nothing_passes_that_no_output_takes() {
        let filter = Filter::new(LevelFilter::Trace, layers(&[]), &OutputFilters::up_to(LevelFilter::Warn)).unwrap();
        assert_eq!(filter.max_level(), LevelFilter::Warn);
        assert!(!passes(&filter, Level::Info, "a"));
        assert!(passes(&filter, Level::Warn, "a"));
    }

    fn current(directives: &str) -> CurrentFilter {
        let filter =
            Filter::new(LevelFilter::Info, layers(&[directives]), &OutputFilters::up_to(LevelFilter::Trace)).unwrap();
        CurrentFilter::new(filter, false)
    }

    #[test]
    fn what_a_log_call_remembers_ends_with_the_filter_and_holds_for_no_other_target() {
        static SITE: Site = Site::new("", "", 0, &[], "");
        let (filter, other) = (current("app=debug"), current("app=error"));
        let record = |target| {
            let mut record = log::Record::builder();
            record.target(target).module_path_static(Some("app")).level(Level::Debug).build()
        };
        let passes = |filter: &CurrentFilter, target| filter.verdict_at(&SITE, &record(target)).passes(Level::Debug);
        for _ in 0..2 {
            assert!(passes(&filter, "app") && !passes(&filter, "own") && !passes(&other, "app"));
        }
        filter.set("app=warn,own=debug").unwrap();
        for _ in 0..2 {
            assert!(!passes(&filter, "app") && passes(&filter, "own"));
        }
        filter.set("app=debug/needle").unwrap();
        for _ in 0..2 {
            assert!(passes(&filter, "app") && filter.verdict_at(&SITE, &record("app")).needs_message);
        }
    }

    fn verdict(filter: &CurrentFilter, target: &'static str) -> LevelFilter {
        let record = log::Record::builder().target(target).module_path_static(Some(target)).build();
        filter.verdict(&record).levels.most()
    }

    #[test]
    fn what_a_thread_remembers_of_a_target_ends_with_the_filter() {
        let filter = current("app=debug");
        for _ in 0..2 {
            assert_eq!(verdict(&filter, "app"), LevelFilter::Debug);
            assert_eq!(verdict(&filter, "app::db"), LevelFilter::Debug);
            assert_eq!(verdict(&filter, "other"), LevelFilter::Info);
        }
        filter.set("app=warn").unwrap();
        for _ in 0..2 {
            assert_eq!(verdict(&filter, "app"), LevelFilter::Warn);
            assert_eq!(verdict(&filter, "app::db"), LevelFilter::Warn);
            assert_eq!(verdict(&filter, "other"), LevelFilter::Info);
        }
    }

    #[test]
    fn the_directives_in_force_are_one_text_that_means_the_same() {
        for (set, pushed, text) in [
            (vec![], vec![], "info"),
            (vec!["hyper=warn,app"], vec![], "info,hyper=warn,app"),
            (vec!["warn , hyper=error", "hyper=off"], vec!["debug"], "hyper=off,debug"),
            (vec!["a=info/one"], vec!["a=debug", "trace/two"], "a=debug,trace/two"),
        ] {
            let filter =
                Filter::new(LevelFilter::Info, layers(&set), &OutputFilters::up_to(LevelFilter::Trace)).unwrap();
            let filter = CurrentFilter::new(filter, false);
            for text in pushed {
                filter.push(text).unwrap();
            }
            assert_eq!(filter.directives(), text);
            let before = filter.load().max_level();
            filter.set(text).unwrap();
            assert_eq!(filter.load().max_level(), before);
        }
    }

    #[test]
    fn what_is_pushed_lies_over_what_is_set_until_it_is_popped() {
        let filter = current("app=warn,db=error");
        filter.push("db=debug").unwrap();
        assert_eq!(verdict(&filter, "db"), LevelFilter::Debug);
        assert_eq!(verdict(&filter, "app"), LevelFilter::Warn);
        filter.push("trace").unwrap();
        assert_eq!(verdict(&filter, "other"), LevelFilter::Trace);
        filter.set("app=info").unwrap();
        assert_eq!(verdict(&filter, "app"), LevelFilter::Info);
        assert_eq!(verdict(&filter, "db"), LevelFilter::Debug, "still pushed");
        filter.push("db=loud").unwrap_err();
        filter.pop();
        assert_eq!(verdict(&filter, "other"), LevelFilter::Info);
        assert_eq!(verdict(&filter, "db"), LevelFilter::Debug);
        filter.pop();
        assert_eq!(verdict(&filter, "db"), LevelFilter::Info, "what was set first is gone");
        filter.pop();
        assert_eq!(verdict(&filter, "app"), LevelFilter::Info, "nothing left to pop");
    }

    #[test]
    fn two_loggers_do_not_share_what_a_thread_remembers() {
        let (one, two) = (current("app=trace"), current("app=error"));
        for _ in 0..2 {
            assert_eq!(verdict(&one, "app"), LevelFilter::Trace);
            assert_eq!(verdict(&two, "app"), LevelFilter::Error);
        }
    }

    #[test]
    fn a_target_that_is_not_the_module_counts_by_its_text_wherever_it_stands() {
        let filter = current("app=debug,own=error");
        let check = |target: &str, expected: LevelFilter| {
            for level in Level::iter() {
                let mut record = log::Record::builder();
                let record = record.target(target).module_path_static(Some("app")).level(level).build();
                assert_eq!(filter.verdict(&record).passes(level), level <= expected, "{target} {level}");
            }
        };
        // Always at the same place, with another text there each time; twice each, the second time
        // remembered.
        let mut place = String::with_capacity(100);
        for _ in 0..3 {
            for (target, expected) in [
                ("own", LevelFilter::Error),
                ("xyz", LevelFilter::Info),
                ("", LevelFilter::Info),
                ("app::db", LevelFilter::Debug),
                ("own::a::target::of::forty-six::bytes::exactly.", LevelFilter::Error),
                ("own::a::target::of::forty-seven::bytes::in::all", LevelFilter::Error),
            ] {
                place.clear();
                place.push_str(target);
                check(&place, expected);
                check(&place, expected);
            }
        }
        filter.set("own=trace").unwrap();
        check("own", LevelFilter::Trace);
    }

    #[test]
    fn more_targets_than_are_remembered_keep_their_verdicts() {
        let text: &'static str = Box::leak("abcdefghij".repeat(30).into_boxed_str());
        let filter = current("abc=warn");
        for _ in 0..2 {
            for start in 0..290 {
                let target = &text[start..start + 10];
                let expected = if target.starts_with("abc") { LevelFilter::Warn } else { LevelFilter::Info };
                assert_eq!(verdict(&filter, target), expected, "{target}");
            }
        }
    }

    #[test]
    fn the_pattern_is_matched_on_the_message() {
        let filter =
            Filter::new(LevelFilter::Info, layers(&["debug/needle"]), &OutputFilters::up_to(LevelFilter::Trace))
                .unwrap();
        let takes = |message| filter.wanting(message, Level::Info, Wanting::NOBODY).is_some();
        assert!(takes("hay needle hay"));
        assert!(!takes("hay"));
        assert!(passes(&filter, Level::Debug, "a"));
    }

    #[test]
    fn a_bad_filter_says_what_is_bad() {
        for bad in ["a=b=c", "a=loud", "info/x/y"] {
            let error = Filter::new(LevelFilter::Info, layers(&[bad]), &OutputFilters::up_to(LevelFilter::Trace))
                .err()
                .unwrap();
            assert_eq!(error.directives, bad);
            assert!(!error.why.is_empty());
        }
    }

    #[test]
    fn a_variable_loses_only_its_bad_directives() {
        let (good, errors) = split_env("debug,a=loud,hyper=warn/needle");
        assert_eq!(good, "debug,hyper=warn/needle");
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].directives, "a=loud");
    }
}
