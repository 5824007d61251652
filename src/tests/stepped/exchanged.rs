//! Another file stands at the path of the log from one moment to the next, as `logrotate`, another
//! process or hostile hands put it there. A rotation leaves it where it stands, and calls nothing
//! an archive that is none.

use super::bench::{Bench, PATH, Setup};
use super::invariants::parse;
use crate::LogFile;
use crate::event::Event;
use crate::sink::rotation::Rotation;
use crate::tests::fake_disk::{FakeDisk, Hand, Op};

/// Where the log stands then.
const TAKEN: &str = "/logs/taken";

fn bench(disk: &FakeDisk, rotation: Rotation) -> Bench {
    let file = LogFile::new(PATH).rotation(rotation).min_free_space(0);
    Setup::new().file_with(disk, file.options).bench()
}

fn archives(bench: &Bench) -> Vec<String> {
    let events = bench.events.lock().unwrap();
    let rotated = events.iter().filter_map(|event| match event {
        Event::Rotated { archive, .. } => Some(archive.display().to_string()),
        _ => None,
    });
    rotated.collect()
}

#[test]
fn a_file_that_comes_between_two_steps_of_a_rotation_is_not_replaced() {
    let mut runs = 0;
    for no_links in [None, Some(1)] {
        for at in 1.. {
            let disk = FakeDisk::default();
            disk.world().no_links = no_links;
            let mut bench = bench(&disk, Rotation::never());
            bench.log_some(2);
            bench.step();
            let before = disk.world().asked_in_all();
            disk.world().hand = Some((before + at, Hand::SwapsActive));
            bench.handle.rotate();
            bench.step();
            if disk.world().hand.is_some() {
                break;
            }
            runs += 1;
            let story = format!("before the operation {at}, {no_links:?}, {:?}", disk.names());
            for archive in archives(&bench) {
                assert_eq!(parse(&[disk.read(&archive)]).records, [0, 1], "{story}: {archive} is none");
            }
            assert_eq!(disk.read(PATH), b"", "{story}: what he put there was replaced");
            bench.log_some(1);
            bench.live(std::time::Duration::from_secs(1));
            let all: Vec<_> = disk.read_named().into_iter().map(|(_, bytes)| bytes).collect();
            let mut records = parse(&all).records;
            records.sort_unstable();
            assert_eq!(records, [0, 1, 2], "{story}");
        }
    }
    assert!(runs > 12, "{runs}");
}

/// The file may not grow, which a rotation cures: the path was not compared before that.
#[test]
fn a_file_that_stands_at_the_path_before_a_rotation_gets_no_second_name() {
    let disk = FakeDisk::default();
    let mut bench = bench(&disk, Rotation::size(1 << 20));
    bench.log_some(2);
    bench.step();
    disk.world().longest = Some(disk.read(PATH).len() as u64);
    disk.world().act(Hand::SwapsActive, PATH.as_ref());
    bench.log_some(1);
    bench.step();
    assert_eq!(disk.names(), [PATH, TAKEN]);
    let made = [Op::Create, Op::Link].map(|op| disk.world().asked(op));
    assert_eq!(made, [0, 0]);
}
