//! Hostile hands in chaos: now and then somebody acts in the middle of a turn, before one of its
//! next operations. What he does and when is drawn apart from everything else, so that a seed does
//! in all other respects what it does without him.

use fastrand::Rng;

use super::plan::{one_of, percent};
use super::scenario::{Machine, Scenario};
use crate::tests::fake_disk::Hand;

/// The first output of each plan is a file there, and hands reach for it.
const LOG: &str = "/logs/app.log";
/// Those that leave it to be judged what the files hold.
const HANDS: [Hand; 5] =
    [Hand::PlantsArchives, Hand::TakesNextNames, Hand::GuessesNames, Hand::TakesLock, Hand::ChangesModes];

impl Scenario {
    /// From now on somebody acts between any two operations.
    pub(super) fn among_hands(mut self) -> Self {
        let seed = self.rng.get_seed();
        for (number, machine) in (0..).zip(&mut self.machines) {
            machine.hands = Some(Rng::with_seed(seed ^ (number + 1)));
        }
        self
    }
}

impl Machine {
    /// Says who acts next, and when; or everything is given back.
    pub(super) fn let_hands_act(&mut self) {
        let Some(mut rng) = self.hands.take() else { return };
        if percent(&mut rng, 30) {
            let hand = one_of(&mut rng, &HANDS);
            let at = self.disk.world().asked_in_all() + rng.u64(1..25);
            self.disk.world().hand = Some((at, hand));
            self.note(format!("somebody {hand:?} next to {LOG}, before operation {at}"));
            // What is torn without the lock, or in a file that cannot be opened again, stays.
            if matches!(hand, Hand::TakesLock | Hand::ChangesModes) {
                (self.torn, self.locked) = (true, true);
            }
        }
        if percent(&mut rng, 20) {
            self.take_hands_away();
        }
        self.hands = Some(rng);
    }

    /// Whoever acts no longer does, and gives back what he has taken.
    pub(super) fn take_hands_away(&mut self) {
        self.note("locks and rights are given back".into());
        self.disk.world().hand = None;
        self.disk.give_back_locks();
        self.disk.give_back_rights();
    }
}
