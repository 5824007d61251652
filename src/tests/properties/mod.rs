//! What must hold for any bytes, as functions of bytes. `tests/fuzz` looks for bytes for which it
//! does not; the test below runs them over what that has found worth keeping. Part of the crate,
//! because they reach beyond the public names.

mod archive_names;
mod choices;
mod filter;
mod formats;

pub(crate) use choices::Choices;

/// Every format, for one record.
pub fn formats(bytes: &[u8]) {
    formats::hold(&mut Choices::new(bytes));
}

/// The names of archives, for a log file and some name in its directory.
pub fn archive_names(bytes: &[u8]) {
    archive_names::hold(&mut Choices::new(bytes));
}

/// The filter, for directives and for changes of them.
pub fn filter(bytes: &[u8]) {
    filter::hold(&mut Choices::new(bytes));
}

/// A logger that goes on with what is left of a file.
pub fn torn_tail(bytes: &[u8]) {
    crate::tests::stepped::tail::hold(&mut Choices::new(bytes));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;

    /// Runs a property over its corpus, which is a file for each input, and over the beginnings of
    /// them.
    fn run(corpus: &str, property: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(corpus);
        let mut count = 0;
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            let holds = catch_unwind(AssertUnwindSafe(|| property(&bytes))).is_ok();
            assert!(holds, "{} shows that it is untrue, see above", path.display());
            count += 1;
        }
        assert!(count >= 10, "only {count} inputs in {}", folder.display());
    }

    #[test]
    fn every_format_gives_back_what_it_is_given() {
        run("formats", super::formats);
    }

    #[test]
    fn an_archives_name_is_known_again_and_no_other_is() {
        run("archive_names", super::archive_names);
    }

    #[test]
    fn a_filter_says_what_env_filter_says_whatever_a_thread_remembers() {
        run("filter", super::filter);
    }

    #[test]
    fn whatever_is_left_of_a_file_stays_and_new_lines_stand_after_it() {
        run("torn_tail", super::torn_tail);
    }
}
