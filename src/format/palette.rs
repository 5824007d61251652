//! The colours of levels. Pure.

use anstyle::{Ansi256Color, AnsiColor, Color, Effects, Style};
use log::Level;

/// What a palette is made of, for a message.
pub(super) const GRAMMAR: &str = "a list as `error=bold red, warn=yellow, debug=bright_blue, trace=244`";

/// A style for each level.
#[derive(Clone, Debug)]
pub(super) struct Palette([Style; 5]);

impl Palette {
    /// Reads `error=bold red, warn=yellow`; levels that are not named keep env_logger's colours.
    /// The error is the piece of the text that cannot be read.
    pub(super) fn parse(text: &str) -> Result<Self, &str> {
        let mut palette = Self::default();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (level, words) = entry.split_once('=').ok_or(entry)?;
            let level: Level = level.trim().parse().map_err(|_| entry)?;
            let style = words.split_whitespace().try_fold(Style::new(), with_word);
            palette.0[level as usize - 1] = style.ok_or(entry)?;
        }
        Ok(palette)
    }

    pub(super) fn style(&self, level: Level) -> Style {
        self.0[level as usize - 1]
    }
}

/// env_logger's colours.
impl Default for Palette {
    fn default() -> Self {
        Self([
            AnsiColor::Red.on_default().effects(Effects::BOLD),
            AnsiColor::Yellow.on_default(),
            AnsiColor::Green.on_default(),
            AnsiColor::Blue.on_default(),
            AnsiColor::Cyan.on_default(),
        ])
    }
}

fn with_word(style: Style, word: &str) -> Option<Style> {
    let color = match word.trim_start_matches("bright_") {
        "plain" => return Some(style),
        "bold" => return Some(style.bold()),
        "dim" => return Some(style.dimmed()),
        "italic" => return Some(style.italic()),
        "underline" => return Some(style.underline()),
        "black" => AnsiColor::Black,
        "red" => AnsiColor::Red,
        "green" => AnsiColor::Green,
        "yellow" => AnsiColor::Yellow,
        "blue" => AnsiColor::Blue,
        "magenta" => AnsiColor::Magenta,
        "cyan" => AnsiColor::Cyan,
        "white" => AnsiColor::White,
        number => {
            let color = number.parse().ok().filter(|_| number == word)?;
            return Some(style.fg_color(Some(Ansi256Color(color).into())));
        }
    };
    let color: Color = color.bright(word.starts_with("bright_")).into();
    Some(style.fg_color(Some(color)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_palette_is_read_and_what_is_wrong_is_named() {
        let palette = Palette::parse("error=underline bright_red , info=plain,trace=244").unwrap();
        let text = |level| palette.style(level).render().to_string();
        assert_eq!(text(Level::Error), "\u{1b}[4m\u{1b}[91m");
        assert_eq!(text(Level::Warn), "\u{1b}[33m");
        assert_eq!(text(Level::Info), "");
        assert_eq!(text(Level::Trace), "\u{1b}[38;5;244m");
        for wrong in ["error", "eror=red", "error=rot", "error=256", "error=bright_7", "info=red\u{1b}"] {
            assert_eq!(Palette::parse(&format!("warn=red,{wrong}")).err(), Some(wrong));
        }
    }
}
