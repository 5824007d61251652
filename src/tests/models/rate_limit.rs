//! The limit of a place holds across threads, and what is over it is told exactly once.

use std::sync::Arc;
use std::time::Duration;

use log::Level;
use loom::thread;

use crate::queue::rate_limit::{Limit, RateLimit};
use crate::record::Record;
use crate::unix_time::UnixTime;
use crate::wanted::Wanting;

use super::check;

const MINUTE: Duration = Duration::from_secs(60);

fn admit(rate_limit: &RateLimit, line: u32, time: UnixTime) -> bool {
    let mut record = log::Record::builder();
    // A text that is not static counts by what it says, not by where it stands: so each run is the
    // same.
    record.level(Level::Error).target("db").file(Some("src/db.rs")).line(Some(line));
    rate_limit.admit(&record.args(format_args!("no connection")).build(), Wanting::NOBODY, time)
}

/// How many similar records are told; every second line finds no slot.
fn told(rate_limit: &RateLimit, takes: bool) -> u64 {
    let mut told = 0;
    rate_limit.report(UnixTime::EPOCH, true, |record| {
        if takes {
            let view = Record::new(&record, UnixTime::EPOCH, None);
            told += view.message().split(' ').next().unwrap().parse::<u64>().unwrap();
        }
        takes
    });
    told
}

#[test]
fn loom_threads_share_the_limit_of_a_place_and_all_beyond_it_is_told() {
    check(3, || {
        let rate_limit = Arc::new(RateLimit::new(Limit::new(1, MINUTE)));
        let callers = [0, 1].map(|_| {
            let rate_limit = rate_limit.clone();
            thread::spawn(move || (0..2).filter(|_| admit(&rate_limit, 10, UnixTime::EPOCH)).count())
        });
        let mut counted = told(&rate_limit, false) + told(&rate_limit, true);
        let admitted: usize = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
        assert_eq!(admitted, 1);
        counted += told(&rate_limit, true);
        assert_eq!(counted, 3, "admitted and told are all");
    });
}

#[test]
fn loom_two_places_never_share_a_slot() {
    // Of two slots some of these pairs begin with the same one, and some do not.
    for lines in [[10, 20], [10, 21], [10, 12], [10, 13]] {
        check(5, move || {
            let rate_limit = Arc::new(RateLimit::new(Limit::new(1, MINUTE)));
            let callers = lines.map(|line| {
                let rate_limit = rate_limit.clone();
                thread::spawn(move || admit(&rate_limit, line, UnixTime::EPOCH))
            });
            callers.into_iter().for_each(|caller| assert!(caller.join().unwrap()));
            assert!(lines.iter().all(|line| !admit(&rate_limit, *line, UnixTime::EPOCH)));
            let mut told = Vec::new();
            rate_limit.report(UnixTime::EPOCH, true, |record| {
                told.push(Record::new(&record, UnixTime::EPOCH, None).line());
                true
            });
            told.sort();
            assert_eq!(told, lines.map(Some));
        });
    }
}
