//! What is wrong with the options of a format. Runs on the thread that sets the logger up.

use crate::error::BadOption;

use super::palette::{self, Palette};
use super::time::STYLE_WORDS;
use super::{Format, Layout, logfmt, pattern};

impl Format {
    /// Checks that the options can be used.
    pub(crate) fn check(&self) -> Result<(), BadOption> {
        const FREE_NAMES: &str = "a name that the format does not write itself and that does not begin with `kv.`";

        let options = &self.options;
        if let Layout::Pattern(text) = &self.layout {
            pattern::parse(text).map_err(|why| {
                BadOption::new("pattern", format!("`{}` ({why})", text.escape_debug()), pattern::GRAMMAR)
            })?;
        }
        if !options.time.style.is_usable() {
            let value = options.time.style.to_string();
            return Err(BadOption::new("time", format!("`{}`", value.escape_debug()), STYLE_WORDS));
        }
        Palette::parse(&options.colors.palette)
            .map_err(|wrong| BadOption::new("palette", format!("`{}`", wrong.escape_debug()), palette::GRAMMAR))?;
        match self.bad_field() {
            Some(key) => {
                let value = format!("`{key}` in the format `{}`", self.name());
                Err(BadOption::new("field", value, FREE_NAMES))
            }
            None => Ok(()),
        }
    }

    /// Returns a constant field that would clash with a name of the format's own.
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
