//! Judges what was logged, line by line.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::harness::Text;
use crate::logger::Account;

/// The most records that are lost between the copy of a file and its cut.
const LOST_BY_A_CUT: u64 = 500;

#[derive(Default)]
pub(crate) struct Judge {
    /// For each author, the numbers that were seen.
    seen: BTreeMap<u32, BTreeSet<u64>>,
    notices: u64,
    fragments: Vec<String>,
    accounts: Vec<(Range<u32>, Account)>,
}

impl Judge {
    /// Takes a file. No record may stand there twice, or in a file before; within the file, each
    /// author's records of a kind are in order. The end of a file that was cut may be torn.
    pub(crate) fn hear(&mut self, file: &str, bytes: &[u8], may_end_torn: bool) {
        let whole = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(last) if may_end_torn => &bytes[..=last],
            None if may_end_torn => &[],
            _ => bytes,
        };
        let text = Text::of(&[whole.to_vec()]);
        for (author, numbers) in text.records {
            // ERROR records have a reserve of their own, and may come before others that wait.
            for is_error in [false, true] {
                let mut of_kind = numbers.iter().filter(|n| (**n % 7 == 3) == is_error).peekable();
                while let Some(one) = of_kind.next() {
                    let next = of_kind.peek();
                    assert!(next.is_none_or(|next| one < *next), "{file}: author {author}: {one} before {next:?}");
                }
            }
            let seen = self.seen.entry(author).or_default();
            for n in numbers {
                assert!(seen.insert(n), "{file}: record {n} of author {author} twice");
            }
        }
        self.notices += text.notices.len() as u64;
        for line in text.fragments {
            // The beginning of one line, and nothing of another.
            let parts = line.matches(" files: ").count() + line.matches(" unfazed: ").count();
            let glued = parts > 1 || line.matches('Z').count() > 1;
            assert!(!glued, "{file}: a glued line: {line:?}");
            self.fragments.push(line);
        }
    }

    /// Takes what a logger that ended by itself says.
    pub(crate) fn expect(&mut self, authors: Range<u32>, account: Account) {
        self.accounts.push((authors, account));
    }

    pub(crate) fn verdict(&self, kills: u64, cuts: u64) -> String {
        let mut text = String::new();
        for (authors, account) in &self.accounts {
            let found: u64 = authors.clone().filter_map(|author| self.seen.get(&author)).map(|n| n.len() as u64).sum();
            assert_eq!(account.accepted, account.said, "{authors:?}: {account:?}");
            assert_eq!(account.accepted, account.written + account.dropped, "{authors:?}: {account:?}");
            let lost = account.written.checked_sub(found);
            let lost = lost.unwrap_or_else(|| panic!("{authors:?}: {found} found, {account:?}"));
            assert!(lost <= cuts * LOST_BY_A_CUT, "{authors:?}: {found} found, {account:?}");
            let Account { accepted, dropped, suspensions, .. } = account;
            text += &format!(
                "authors {authors:?}: {accepted} accepted, {dropped} dropped, {suspensions} suspensions, \
                 {lost} lost between a copy and its cut\n"
            );
        }
        let records: usize = self.seen.values().map(BTreeSet::len).sum();
        format!(
            "{text}{records} records of {} authors, each once, {} lines of the logger, {} torn lines alone ({kills} kills)",
            self.seen.len(),
            self.notices,
            self.fragments.len()
        )
    }
}
