//! The colours of levels. Pure.

use log::Level;

/// What a palette is made of, for a message.
pub(super) const GRAMMAR: &str = "a list as `error=bold red, warn=yellow, debug=bright_blue, trace=244`";

/// The end of every style: SGR, "select graphic rendition" (ECMA-48, 8.3.117).
const RESET: &str = "\x1b[0m";

/// What turns the style of each level on; nothing where a level has none.
#[derive(Clone, Debug)]
pub(super) struct Palette([String; 5]);

impl Palette {
    /// Reads `error=bold red, warn=yellow`; levels that are not named keep env_logger's colours.
    /// The error is the piece of the text that cannot be read.
    pub(super) fn parse(text: &str) -> Result<Self, &str> {
        let mut palette = Self::default();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (level, words) = entry.split_once('=').ok_or(entry)?;
            let level: Level = level.trim().parse().map_err(|_| entry)?;
            palette.0[level as usize - 1] =
                words.split_whitespace().map(sequence).collect::<Option<_>>().ok_or(entry)?;
        }
        Ok(palette)
    }

    /// Returns what turns the style of a level on and off.
    pub(super) fn style(&self, level: Level) -> (&str, &str) {
        let on = self.0[level as usize - 1].as_str();
        (on, if on.is_empty() { "" } else { RESET })
    }
}

/// env_logger's colours.
impl Default for Palette {
    fn default() -> Self {
        Self(["\x1b[1m\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[34m", "\x1b[36m"].map(str::to_owned))
    }
}

/// Returns the sequence for a word of a style.
fn sequence(word: &str) -> Option<String> {
    const COLORS: [&str; 8] = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
    let (name, first) = word.strip_prefix("bright_").map_or((word, 30), |name| (name, 90));
    let color = COLORS.iter().position(|color| *color == name);
    let code = match (word, color) {
        ("plain", _) => return Some(String::new()),
        ("bold", _) => 1,
        ("dim", _) => 2,
        ("italic", _) => 3,
        ("underline", _) => 4,
        (_, Some(color)) => first + color,
        (number, None) => return Some(format!("\x1b[38;5;{}m", number.parse::<u8>().ok()?)),
    };
    Some(format!("\x1b[{code}m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_palette_is_read_and_what_is_wrong_is_named() {
        let palette = Palette::parse("error=underline bright_red , info=plain,trace=244").unwrap();
        let text = |level| palette.style(level).0.to_owned();
        assert_eq!(text(Level::Error), "\u{1b}[4m\u{1b}[91m");
        assert_eq!(text(Level::Warn), "\u{1b}[33m");
        assert_eq!(text(Level::Info), "");
        assert_eq!(text(Level::Trace), "\u{1b}[38;5;244m");
        for wrong in ["error", "eror=red", "error=rot", "error=256", "error=bright_7", "info=red\u{1b}"] {
            assert_eq!(Palette::parse(&format!("warn=red,{wrong}")).err(), Some(wrong));
        }
    }
}
