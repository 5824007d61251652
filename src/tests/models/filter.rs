//! What a thread remembers of a filter never outlives the filter.

use std::sync::Arc;

use log::{Level, LevelFilter};
use loom::thread;

use crate::front::filter::{CurrentFilter, Filter, Layers, Verdict};
use crate::front::output_filters::OutputFilters;
use crate::record::Site;

use super::check;

fn current(directives: &str) -> Arc<CurrentFilter> {
    let layers = Layers { set: vec![directives.to_owned()], pushed: Vec::new() };
    let filter = Filter::new(LevelFilter::Info, layers, &OutputFilters::up_to(LevelFilter::Trace)).unwrap();
    Arc::new(CurrentFilter::new(filter, false))
}

fn most(verdict: Verdict) -> LevelFilter {
    Level::iter()
        .filter(|level| verdict.passes(*level))
        .last()
        .map_or(LevelFilter::Off, |level| level.to_level_filter())
}

fn verdict(filter: &CurrentFilter) -> LevelFilter {
    let record = log::Record::builder().target("app").module_path_static(Some("app")).build();
    most(filter.verdict(&record))
}

#[test]
fn loom_what_is_remembered_while_the_filter_changes_ends_with_it() {
    check(5, || {
        let filter = current("app=debug");
        let changer = {
            let filter = filter.clone();
            thread::spawn(move || filter.set("app=warn").unwrap())
        };
        let seen = [verdict(&filter), verdict(&filter)];
        assert!(!matches!(seen, [LevelFilter::Warn, LevelFilter::Debug]), "back to the old filter");
        changer.join().unwrap();
        assert_eq!(verdict(&filter), LevelFilter::Warn);
    });
}

/// The filter's verdict on this log call, which the call itself remembers.
fn verdict_at(filter: &CurrentFilter, site: &Site) -> LevelFilter {
    let record = log::Record::builder().target("app").module_path_static(Some("app")).build();
    most(filter.verdict_at(site, &record))
}

#[test]
fn loom_what_a_call_remembers_while_the_filter_changes_ends_with_it() {
    check(5, || {
        let filter = current("app=debug");
        let site = Arc::new(Site::new("app", "app.rs", 1, &[], ""));
        let changer = {
            let filter = filter.clone();
            thread::spawn(move || filter.set("app=warn").unwrap())
        };
        // Until the change has returned, either filter may answer: a call has one memory for all
        // threads, and one of them may put there what it has asked before the change.
        let caller = {
            let (filter, site) = (filter.clone(), site.clone());
            thread::spawn(move || verdict_at(&filter, &site))
        };
        verdict_at(&filter, &site);
        changer.join().unwrap();
        assert_eq!(verdict_at(&filter, &site), LevelFilter::Warn);
        caller.join().unwrap();
        assert_eq!(verdict_at(&filter, &site), LevelFilter::Warn);
    });
}

#[test]
fn loom_of_two_changes_at_once_every_thread_ends_up_with_the_later_one() {
    check(5, || {
        let filter = current("app=debug");
        let changers = ["app=warn", "app=error"].map(|directives| {
            let filter = filter.clone();
            thread::spawn(move || filter.set(directives).unwrap())
        });
        verdict(&filter);
        changers.into_iter().for_each(|changer| changer.join().unwrap());
        // A target that is not static is not remembered: it is asked of the filter itself.
        let record = log::Record::builder().target("app").build();
        assert_eq!(verdict(&filter), most(filter.verdict(&record)));
    });
}
