//! Thousands of threads at the same time, and again.

use std::sync::Barrier;
use std::thread;

use unfazed::{KIB, Stats};

use crate::memory::one_arena;
use crate::support::account::{Log, assert_accounted};
use crate::support::cases::{Evidence, Outcome};
use crate::support::load::{Author, longest, memory};
use crate::support::place::Place;
use crate::support::subject::{PATIENCE, Subject};

pub(crate) fn two_thousand_threads_at_the_same_time_eight_times_are_all_accounted_for(place: &Place) -> Outcome {
    const AT_ONCE: u32 = 2000;
    const WAVES: u32 = 8;
    const RECORDS: u64 = 15;

    // Several heaps go on growing for a dozen waves, until each has what it needs.
    one_arena();
    let subject = Subject::start(&place.dir().join("app.log"), |file| file.min_free_space(0));
    // Their own memory is there before any is measured.
    let mut authors: Vec<_> = (0..AT_ONCE * WAVES).map(Author::new).collect();
    let mut after_a_wave = Vec::new();
    for wave in 0..WAVES {
        let together = Barrier::new(AT_ONCE as usize);
        thread::scope(|scope| {
            let threads: Vec<_> = (wave * AT_ONCE..(wave + 1) * AT_ONCE)
                .map(|number| {
                    // More names than the writer remembers, each as long as a name is kept.
                    let thread = thread::Builder::new().name(format!("author-{number:0>57}")).stack_size(128 << 10);
                    let together = &together;
                    let life = move || {
                        let mut author = Author::new(number);
                        together.wait();
                        // Not timed: it brings the thread's name along, for which all of them ask
                        // the one heap at the same time.
                        author.log(log::logger());
                        for _ in 1..RECORDS {
                            author.say();
                        }
                        author
                    };
                    thread.spawn_scoped(scope, life).unwrap()
                })
                .collect();
            for (number, thread) in (wave * AT_ONCE..).zip(threads) {
                authors[number as usize] = thread.join().expect("no log call unwinds");
            }
        });
        assert_eq!(subject.handle.flush(PATIENCE), Ok(()));
        after_a_wave.push(memory() / KIB);
    }
    let (stats, told) = subject.end();
    assert!(told.suspended.is_empty(), "{told:?}");
    assert_accounted(&Log::of_whole_lines(&subject.read()), &authors, &stats, &told);
    assert_eq!(stats.accepted, u64::from(AT_ONCE * WAVES) * RECORDS);
    // The first waves make what is kept: stacks, buffers, names.
    let grown = after_a_wave[7].saturating_sub(after_a_wave[3]) * KIB;
    let for_a_thread = grown / u64::from(4 * AT_ONCE);
    assert!(for_a_thread < 256, "the memory grew by {for_a_thread} bytes for each thread: {after_a_wave:?}");
    let Stats { dropped, .. } = stats;
    let more = format!("{} lost to a full queue; memory after each wave, KiB: {after_a_wave:?}", dropped.queue_full);
    Evidence { stats, longest_call: Some(longest(&authors)), resumed: None, more }.into()
}
