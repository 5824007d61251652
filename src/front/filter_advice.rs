//! Advice on directives that cannot be parsed, or match nothing as they are written. Pure; runs on
//! the thread that sets a filter.

use log::LevelFilter;

use super::grammar::split_pattern;

const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::Off),
    ("error", LevelFilter::Error),
    ("warn", LevelFilter::Warn),
    ("info", LevelFilter::Info),
    ("debug", LevelFilter::Debug),
    ("trace", LevelFilter::Trace),
];
/// Names that other loggers and syslog give to a level.
const OTHER_NAMES: [(&str, &str); 9] = [
    ("all", "trace"),
    ("crit", "error"),
    ("critical", "error"),
    ("err", "error"),
    ("fatal", "error"),
    ("information", "info"),
    ("none", "off"),
    ("verbose", "trace"),
    ("warning", "warn"),
];

/// Returns one sentence for each directive of `text` that cannot be parsed, or matches nothing as
/// it is written, as far as one can guess what was meant.
/// `compiled` is the most verbose level that `log` was compiled with.
pub(crate) fn advice(text: &str, compiled: LevelFilter) -> Vec<String> {
    let (levels, _) = split_pattern(text);
    levels.split(',').filter_map(|directive| Directive::new(directive).advice(compiled)).collect()
}

/// A directive taken apart.
struct Directive<'a> {
    text: &'a str,
    name: &'a str,
    /// The text after the `=`, if there is one.
    level: Option<&'a str>,
    /// The word that stands where a level may stand: after the `=`, or alone.
    word: &'a str,
    /// The level that the word names.
    asked: Option<LevelFilter>,
}

impl<'a> Directive<'a> {
    fn new(text: &'a str) -> Self {
        // `env_filter` trims a directive as a whole.
        let text = text.trim();
        let (name, level) = text.split_once('=').map_or((text, None), |(name, level)| (name, Some(level)));
        let word = level.map_or(name, str::trim);
        let asked = LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, level)| *level);
        Self { text, name, level, word, asked }
    }

    fn advice(&self, compiled: LevelFilter) -> Option<String> {
        let Self { text, name, level, asked, .. } = *self;
        if let Some(asked) = asked.filter(|asked| *asked > compiled) {
            let asked = asked.as_str().to_lowercase();
            return Some(format!(
                "`{text}`: `log` was compiled without the level {asked} (its `max_level_*` features)"
            ));
        }
        if name.is_empty() || (level.is_none() && asked.is_some()) {
            return None;
        }
        let what = self.advice_on_signs().or_else(|| self.advice_on_level())?;
        Some(format!("`{text}`: {what}"))
    }

    /// Returns what a sign in the directive shows to be wrong.
    fn advice_on_signs(&self) -> Option<String> {
        let Self { text, name, level, word, .. } = *self;
        Some(if name.contains(char::is_whitespace) || word.contains(char::is_whitespace) {
            // A space next to `=` is one too many; any other stands for a comma.
            let tight = text.split('=').map(str::trim).collect::<Vec<_>>().join("=");
            let listed = tight.split_whitespace().collect::<Vec<_>>().join(",");
            format!("a space is part of the name; write `{listed}`")
        } else if name.contains(['"', '\'']) {
            format!("a quote is part of the name; write `{}`", text.replace(['"', '\''], ""))
        } else if name.contains(';') || word.contains(';') {
            format!("directives are separated by commas; write `{}`", text.replace(';', ","))
        } else if name.contains('*') {
            let all = name.trim_end_matches('*').trim_end_matches("::");
            match level {
                _ if all.is_empty() => "there are no wildcards; a level alone holds for every target".to_owned(),
                Some(level) => format!("there are no wildcards, a name covers all below it; write `{all}={level}`"),
                None => format!("there are no wildcards, a name covers all below it; write `{all}`"),
            }
        } else if name.contains('-') {
            format!("the name of a module has no hyphen; write `{}`", text.replace('-', "_"))
        } else if let (None, Some((name, level))) = (level, lone_colon(name)) {
            format!("a level follows `=`; write `{name}={level}`")
        } else {
            return None;
        })
    }

    /// Returns what is wrong with a word that may have been meant as a level.
    fn advice_on_level(&self) -> Option<String> {
        let Self { level, word, asked, .. } = *self;
        match (asked, closest_level(word)) {
            (Some(_), _) => None,
            (None, Some(known)) if level.is_none() => {
                Some(format!("it is not a level, so it names a target; the level is called `{known}`"))
            }
            (None, Some(known)) => Some(format!("the level is called `{known}`")),
            // An empty level means every level, as a directive without `=` does.
            (None, None) if word.is_empty() || level.is_none() => None,
            (None, None) => Some(format!("`{word}` is not a level; there are off, error, warn, info, debug and trace")),
        }
    }
}

/// Splits `app:debug`, but not `app::db`.
fn lone_colon(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once(':').filter(|(name, level)| !name.is_empty() && !name.ends_with(':') && !level.is_empty())
}

/// Returns the level that `word` was probably meant to be.
fn closest_level(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    let other = OTHER_NAMES.iter().find(|(name, _)| *name == word).map(|(_, level)| *level);
    other.or_else(|| LEVELS.iter().map(|(name, _)| *name).find(|name| is_misspelled(&word, name)))
}

/// Returns true if `word` is `name` with one letter too many or too few, or with two exchanged. A
/// wrong letter makes another word too often, as in `ward`.
fn is_misspelled(word: &str, name: &str) -> bool {
    let (word, name) = (word.as_bytes(), name.as_bytes());
    let start = word.iter().zip(name).take_while(|(one, other)| one == other).count();
    let (word, name) = (&word[start..], &name[start..]);
    match (word, name) {
        // Short names are close to many words.
        _ if start == 0 => false,
        ([one, other, rest @ ..], [first, second, end @ ..]) if one == second && other == first && rest == end => true,
        ([_, rest @ ..], _) if rest == name => true,
        (_, [_, end @ ..]) if word == end => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directive_that_matches_nothing_as_it_is_written_has_advice() {
        let cases = [
            ("hyper = warn", "`hyper = warn`: a space is part of the name; write `hyper=warn`"),
            ("info hyper=warn", "`info hyper=warn`: a space is part of the name; write `info,hyper=warn`"),
            ("my-app=debug", "`my-app=debug`: the name of a module has no hyphen; write `my_app=debug`"),
            ("warning", "`warning`: it is not a level, so it names a target; the level is called `warn`"),
            ("inof", "`inof`: it is not a level, so it names a target; the level is called `info`"),
            ("Debg", "`Debg`: it is not a level, so it names a target; the level is called `debug`"),
            ("json=warning", "`json=warning`: the level is called `warn`"),
            ("app=Debg", "`app=Debg`: the level is called `debug`"),
            ("app=3", "`app=3`: `3` is not a level; there are off, error, warn, info, debug and trace"),
            ("app=debug db=info", "`app=debug db=info`: a space is part of the name; write `app=debug,db=info`"),
            ("app:debug", "`app:debug`: a level follows `=`; write `app=debug`"),
            ("app::db:debug", "`app::db:debug`: a level follows `=`; write `app::db=debug`"),
            ("\"debug\"", "`\"debug\"`: a quote is part of the name; write `debug`"),
            ("info;app=debug", "`info;app=debug`: directives are separated by commas; write `info,app=debug`"),
            ("app=debug;db=info", "`app=debug;db=info`: directives are separated by commas; write `app=debug,db=info`"),
            ("app::*=debug", "`app::*=debug`: there are no wildcards, a name covers all below it; write `app=debug`"),
            ("*=debug", "`*=debug`: there are no wildcards; a level alone holds for every target"),
        ];
        for (directive, expected) in cases {
            assert_eq!(advice(directive, LevelFilter::Trace), [expected]);
        }
    }

    #[test]
    fn a_directive_that_can_match_has_none() {
        for text in [
            "",
            " ",
            ",",
            "info",
            "OFF",
            "Warn",
            "hyper",
            "hyper=warn",
            "hyper=",
            " hyper=warn , my_app=debug ",
            "app::db=trace",
            "app::db",
            "error,app=off",
            "info/my-app = \"x\"",
            "app",
            "database",
            "ward",
            "offer",
            "trades",
        ] {
            assert_eq!(advice(text, LevelFilter::Trace), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn a_level_that_was_compiled_out_is_named() {
        let expected = "`app=debug`: `log` was compiled without the level debug (its `max_level_*` features)";
        assert_eq!(advice("app=debug,hyper=warn,info", LevelFilter::Info), [expected]);
    }
}
