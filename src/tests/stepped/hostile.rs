//! Hostile hands: between any two operations of a scenario somebody plants names, swaps files,
//! changes modes, or takes the lock, who may do that because the directory is his or everybody's.
//! After each run the invariants hold, and after each turn P11: what he has planted is as he
//! planted it.

use std::time::Duration;

use super::faults::{Runs, in_all, scenarios};
use super::invariants::{Ledger, assert_ended, assert_invariants, assert_recovery};
use super::scenarios::{Life, Scenario};
use crate::tests::fake_disk::Hand;
use crate::writer::CAUGHT;

/// Plays the scenario while `hand` acts before the operation `at`. Returns how many operations
/// there were.
fn run(runs: &Runs, scenario: &Scenario, hand: Option<(u64, Hand)>) -> u64 {
    runs.begin(scenario.name, format!("{hand:?}"));
    let disk = scenario.disk();
    disk.world().hand = hand;
    let mut life = scenario.begin(disk, Ledger::default());
    must_hold_after_each_turn(&mut life);
    (scenario.drive)(&mut life);
    life.bench.assert_identity("when the scenario is over");
    let operations = life.disk.world().asked_in_all();
    assert!(life.disk.world().hand.is_none(), "{hand:?} has acted");
    life.disk.assert_planted_is_untouched("when the scenario is over");
    if let Some(answer) = life.ended {
        assert_ended(&life.bench, &life.disk, answer);
        life = scenario.begin(life.disk, life.bench.ledger);
        must_hold_after_each_turn(&mut life);
        life.bench.step();
    }
    let (bench, disk) = (&mut life.bench, &life.disk);
    disk.give_back_locks();
    disk.give_back_rights();
    assert_recovery(bench, disk, "afterwards");
    for _ in 0..15 {
        bench.pass(Duration::from_secs(5));
        bench.step();
    }
    bench.log_some(8);
    bench.live(Duration::from_secs(2));
    assert_invariants(bench, disk, "afterwards");
    let history = bench.history.lock().unwrap();
    // A second name of the swapped file, still empty, looks like an empty archive there.
    let may_go = scenario.deletes || disk.world().unstable_ids;
    assert!(may_go || history.deleted.is_empty(), "{:?}", history.deleted);
    assert_eq!(CAUGHT.get(), 0, "something panicked");
    operations
}

/// P11.
fn must_hold_after_each_turn(life: &mut Life) {
    let disk = life.disk.clone();
    life.bench.after_step = Some(Box::new(move || disk.assert_planted_is_untouched("after a turn")));
}

#[test]
fn whatever_hostile_hands_do_between_two_operations_all_invariants_hold() {
    let jobs: Vec<_> = scenarios().flat_map(|scenario| Hand::ALL.map(|hand| (scenario, hand))).collect();
    let count = in_all(&jobs, |(scenario, hand), runs| {
        for at in 1..=run(runs, scenario, None) {
            run(runs, scenario, Some((at, *hand)));
        }
    });
    println!("{count} runs: each scenario, {} hands, before each operation", Hand::ALL.len());
}
