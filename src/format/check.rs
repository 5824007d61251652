//! What is wrong with the options of a format. Runs on the thread that sets the logger up.

use super::palette::{self, Palette};
use super::time::STYLE_WORDS;
use super::{Format, Layout, logfmt, pattern};

impl Format {
    /// An option that cannot be used: its name, its value, and what it must be.
    pub(crate) fn unusable(&self) -> Option<(&'static str, String, &'static str)> {
        let options = &self.options;
        if let Layout::Pattern(text) = &self.layout {
            if let Err(why) = pattern::parse(text) {
                return Some(("pattern", format!("`{}` ({why})", text.escape_debug()), pattern::GRAMMAR));
            }
        }
        if !options.time.style.is_usable() {
            let value = options.time.style.to_string();
            return Some(("time", format!("`{}`", value.escape_debug()), STYLE_WORDS));
        }
        if let Err(wrong) = Palette::parse(&options.colors.palette) {
            return Some(("palette", format!("`{}`", wrong.escape_debug()), palette::GRAMMAR));
        }
        let key = self.bad_field()?;
        let value = format!("`{key}` in the format `{}`", self.name());
        Some(("field", value, "a name that the format does not write itself and that does not begin with `kv.`"))
    }

    /// A constant field that would meet a name of the format's own.
    fn bad_field(&self) -> Option<&str> {
        let names = match &self.layout {
            #[cfg(feature = "json")]
            Layout::Json(map) => map.field_names(&self.options),
            Layout::Logfmt => logfmt::names(&self.options),
            _ => return None,
        };
        self.options.fields.pairs().map(|(key, _)| key).find(|key| names.is_reserved(key))
    }
}
