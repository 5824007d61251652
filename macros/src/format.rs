//! The grammar of a format string, as `std::fmt` documents it: which arguments it uses, and as
//! what. Knows no tokens.

use std::iter::Peekable;
use std::str::Chars;

/// An argument that a format string names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    Number(usize),
    Name(String),
}

/// How a format string uses an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Its value is written.
    Value,
    /// It is a width or a precision.
    Width,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) argument: Argument,
    pub(crate) role: Role,
}

/// Returns what the source text of a string literal stands for; nothing if it is another literal.
pub(crate) fn unescaped(source: &str) -> Option<String> {
    if let Some(raw) = source.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let inside = raw.get(hashes..raw.len().checked_sub(hashes)?)?;
        return Some(inside.strip_prefix('"')?.strip_suffix('"')?.to_owned());
    }
    let mut characters = source.strip_prefix('"')?.strip_suffix('"')?.chars().peekable();
    let mut text = String::new();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.extend(escape(&mut characters)?),
            character => text.push(character),
        }
    }
    Some(text)
}

/// Reads what follows a backslash: no character if it ends a line.
fn escape(characters: &mut Peekable<Chars<'_>>) -> Option<Option<char>> {
    let character = match characters.next()? {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        '0' => '\0',
        same @ ('\\' | '\'' | '"') => same,
        'x' => char::from_u32(characters.next()?.to_digit(16)? * 16 + characters.next()?.to_digit(16)?)?,
        'u' => {
            characters.next_if_eq(&'{')?;
            let mut number = 0_u32;
            loop {
                match characters.next()? {
                    '}' => break,
                    '_' => {}
                    digit => number = number.checked_mul(16)?.checked_add(digit.to_digit(16)?)?,
                }
            }
            char::from_u32(number)?
        }
        '\n' => {
            while characters.next_if(|next| matches!(next, ' ' | '\n' | '\r' | '\t')).is_some() {}
            return Some(None);
        }
        _ => return None,
    };
    Some(Some(character))
}

/// A format string taken apart.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// The arguments that it uses, in their order.
    pub(crate) uses: Vec<Use>,
    /// The holes, each with the text before it.
    pub(crate) holes: Vec<Hole>,
    /// The text after the last hole.
    pub(crate) last: String,
}

/// A pair of braces, and the text before it.
#[derive(Debug)]
pub(crate) struct Hole {
    pub(crate) text: String,
    /// What stands after the colon.
    pub(crate) spec: String,
}

/// Takes a format string apart; nothing if it is none, or if it is one whose arguments cannot be
/// stored: a pointer, a name that is a keyword.
pub(crate) fn parsed(text: &str) -> Option<Parsed> {
    let mut parser = Parser { rest: text.chars().peekable(), parsed: Parsed::default(), next: 0 };
    while let Some(character) = parser.rest.next() {
        match character {
            '{' if parser.eats('{') => parser.parsed.last.push('{'),
            '{' => parser.hole()?,
            '}' if parser.eats('}') => parser.parsed.last.push('}'),
            '}' => return None,
            other => parser.parsed.last.push(other),
        }
    }
    Some(parser.parsed)
}

/// Returns what of `unfazed` writes an argument as this specification says, if there is something.
pub(crate) fn shown_by(spec: &str) -> Option<String> {
    /// The text before a number, the text after it, the largest number, and what writes it.
    const WITH_NUMBER: [(&str, &str, u16, &str); 8] = [
        ("", "", u16::MAX, "padded"),
        ("<", "", u16::MAX, "left"),
        (">", "", u16::MAX, "right"),
        (".", "", 9, "fixed"),
        (".", "?", u16::MAX, "fixed_debug"),
        ("0", "", 40, "zero_padded"),
        ("0", "x", u16::MAX, "zero_padded_hex"),
        ("#0", "x", u16::MAX, "zero_padded_prefixed_hex"),
    ];
    let name = match spec {
        "" => "DISPLAY",
        "?" => "DEBUG",
        "x" => "HEX",
        "#x" => "PREFIXED_HEX",
        _ => {
            return WITH_NUMBER.iter().find_map(|(before, after, most, name)| {
                let text = spec.strip_prefix(before)?.strip_suffix(after)?;
                let number = text.parse().ok().filter(|number: &u16| number <= most && number.to_string() == text)?;
                Some(format!("{name}::<{number}>"))
            });
        }
    };
    Some(name.to_owned())
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    /// What has been read; the text since the last hole is `last`.
    parsed: Parsed,
    /// The number of the next argument that has neither name nor number.
    next: usize,
}

impl Parser<'_> {
    fn eats(&mut self, character: char) -> bool {
        self.rest.next_if_eq(&character).is_some()
    }

    fn eat_blanks(&mut self) {
        while self.rest.next_if(|next| next.is_whitespace()).is_some() {}
    }

    /// Reads from after the opening brace to after the closing one.
    fn hole(&mut self) -> Option<()> {
        self.eat_blanks();
        let argument = self.argument()?;
        self.eat_blanks();
        // A precision `.*` takes its argument before the value does.
        let mut spec = String::new();
        if self.eats(':') {
            let from = self.rest.clone();
            self.spec()?;
            let len = from.clone().count() - self.rest.clone().count();
            spec.extend(from.take(len));
        }
        self.eat_blanks();
        if !self.eats('}') {
            return None;
        }
        let argument = argument.unwrap_or_else(|| self.next_argument());
        self.parsed.uses.push(Use { argument, role: Role::Value });
        let text = std::mem::take(&mut self.parsed.last);
        self.parsed.holes.push(Hole { text, spec });
        Some(())
    }

    fn next_argument(&mut self) -> Argument {
        self.next += 1;
        Argument::Number(self.next - 1)
    }

    /// Reads a number or a name, if one stands here.
    fn argument(&mut self) -> Option<Option<Argument>> {
        match self.rest.peek() {
            Some(digit) if digit.is_ascii_digit() => Some(Some(Argument::Number(self.number()?))),
            Some(letter) if is_start(*letter) => Some(Some(Argument::Name(self.name()?))),
            _ => Some(None),
        }
    }

    fn number(&mut self) -> Option<usize> {
        let mut number = 0_usize;
        while let Some(digit) = self.rest.peek().and_then(|digit| digit.to_digit(10)) {
            self.rest.next();
            number = number.checked_mul(10)?.checked_add(digit as usize)?;
        }
        Some(number)
    }

    fn name(&mut self) -> Option<String> {
        let name = self.word();
        let is_name = name != "_" && !KEYWORDS.contains(&&*name);
        is_name.then_some(name)
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(letter) = self.rest.next_if(|next| is_start(*next) || next.is_ascii_alphanumeric()) {
            word.push(letter);
        }
        word
    }

    /// Reads `[[fill]align][sign]['#']['0'][width]['.' precision][type]`.
    fn spec(&mut self) -> Option<()> {
        let is_align = |character: Option<char>| matches!(character, Some('<' | '^' | '>'));
        let mut ahead = self.rest.clone();
        let (first, second) = (ahead.next(), ahead.next());
        if is_align(second) {
            self.rest.next();
            self.rest.next();
        } else if is_align(first) {
            self.rest.next();
        }
        let _sign = self.eats('+') || self.eats('-');
        let _alternate = self.eats('#');
        let mut ahead = self.rest.clone();
        // `0$` is a width, and `0` alone a flag.
        if (ahead.next(), ahead.next()) != (Some('0'), Some('$')) {
            self.eats('0');
        }
        self.count()?;
        if self.eats('.') {
            if self.eats('*') {
                let argument = self.next_argument();
                self.parsed.uses.push(Use { argument, role: Role::Width });
            } else {
                self.count()?;
            }
        }
        // Not `p`: the address of a copy is not that of the value.
        match (&*self.word(), self.eats('?')) {
            ("" | "x" | "X", _) | ("o" | "b" | "e" | "E", false) => Some(()),
            _ => None,
        }
    }

    /// Reads a width or a precision, if one stands here: a number, or an argument and a `$`.
    fn count(&mut self) -> Option<()> {
        /// The compiler takes no larger one.
        const MOST: usize = u16::MAX as usize;

        let before = self.rest.clone();
        let argument = match self.rest.peek() {
            Some(digit) if digit.is_ascii_digit() => Argument::Number(self.number()?),
            Some(letter) if is_start(*letter) => Argument::Name(self.word()),
            _ => return Some(()),
        };
        if self.eats('$') {
            if matches!(&argument, Argument::Name(name) if KEYWORDS.contains(&&**name)) {
                return None;
            }
            self.parsed.uses.push(Use { argument, role: Role::Width });
            return Some(());
        }
        match argument {
            Argument::Number(count) => (count <= MOST).then_some(()),
            // It is the type.
            Argument::Name(_) => {
                self.rest = before;
                Some(())
            }
        }
    }
}

/// Returns whether a name may begin with this character. Only the compiler knows all letters that a
/// name may have, so a name with other letters than ASCII's is not understood here.
fn is_start(character: char) -> bool {
    character == '_' || character.is_ascii_alphabetic()
}

/// The words that are no identifiers in some edition.
const KEYWORDS: &[&str] = &[
    "Self", "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
    "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super",
    "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The uses of a literal, as in `0 n $w`: a `$` before what is a width.
    fn read(text: &str) -> Option<String> {
        let uses = parsed(text)?.uses;
        let words = uses.iter().map(|Use { argument, role }| {
            let dollar = if *role == Role::Width { "$" } else { "" };
            match argument {
                Argument::Number(number) => format!("{dollar}{number}"),
                Argument::Name(name) => format!("{dollar}{name}"),
            }
        });
        Some(words.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_literal_uses_the_arguments_that_the_compiler_finds_in_it() {
        for (text, expected) in [
            ("", ""),
            ("plain", ""),
            ("{{}}", ""),
            ("{{{}}}", "0"),
            ("{} {}", "0 1"),
            ("{1} {} {0} {}", "1 0 0 1"),
            ("{n} {} {n}", "n 0 n"),
            ("{ } {n } {0 }", "0 n 0"),
            ("{:?} {:#?} {:x?} {:#010X?}", "0 1 2 3"),
            ("{:x} {:#x} {:08} {:+} {:e}", "0 1 2 3 4"),
            ("{:5} {:<5} {:*^5} {:>+5}", "0 1 2 3"),
            ("{:}^5} {:{>5}", "0 1"),
            ("{:<<5} {:^^5} {:?>5?}", "0 1 2"),
            ("{:.2} {:.0} {:8.3} {:+08.3e}", "0 1 2 3"),
            ("{:w$} {:>w$} {:0w$}", "$w 0 $w 1 $w 2"),
            ("{:1$} {0:0$} {:0$}", "$1 0 $0 0 $0 1"),
            ("{:.*} {}", "$0 1 2"),
            ("{0:.*} {n:.*} {}", "$0 0 $1 n 2"),
            ("{:w$.p$} {:1$.2$} {:.p$}", "$w $p 0 $1 $2 1 $p 2"),
            ("{:w$.*}", "$w $0 1"),
            ("{size:ß>n$}", "$n size"),
            ("{_a1} {x_:_y$}", "_a1 $_y x_"),
            ("{:-5}", "0"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn the_text_between_holes_and_what_they_say_stay_as_they_are() {
        for (text, holes, last) in [
            ("plain {{}}", &[] as &[(&str, &str)], "plain {}"),
            ("a {} b {n:?}", &[("a ", ""), (" b ", "?")], ""),
            ("{{{:}^5}}}{ : .2 }", &[("{", "}^5"), ("}", " .2")], ""),
            ("ß{0:ß>+08.3e}ß", &[("ß", "ß>+08.3e")], "ß"),
        ] {
            let parsed = parsed(text);
            let Some(parsed) = parsed else { continue };
            let found: Vec<_> = parsed.holes.iter().map(|hole| (&*hole.text, &*hole.spec)).collect();
            assert_eq!((&*found, &*parsed.last), (holes, last), "{text}");
        }
    }

    #[test]
    fn what_a_hole_says_has_a_name_only_if_all_of_it_does() {
        for (spec, expected) in [
            ("", "DISPLAY"),
            ("?", "DEBUG"),
            ("x", "HEX"),
            ("#x", "PREFIXED_HEX"),
            ("8", "padded::<8>"),
            ("<80", "left::<80>"),
            (">65535", "right::<65535>"),
            (".0", "fixed::<0>"),
            (".9", "fixed::<9>"),
            (".10?", "fixed_debug::<10>"),
            ("0", "padded::<0>"),
            ("08", "zero_padded::<8>"),
            ("02x", "zero_padded_hex::<2>"),
            ("#010x", "zero_padded_prefixed_hex::<10>"),
        ] {
            assert_eq!(shown_by(spec).as_deref(), Some(expected), "{spec}");
        }
        for spec in ["#?", "X", "8x", ".10", "041", "008", ">08", "<", "^8", "-<8", "+8", ">8?", ".2e", "x?", "8.2"] {
            assert_eq!(shown_by(spec), None, "{spec}");
        }
    }

    #[test]
    fn what_cannot_be_stored_or_is_no_format_string_is_not_understood() {
        for text in [
            "{",
            "}",
            "{}}",
            "{{}",
            "{a b}",
            "{a.b}",
            "{:p}",
            "{:#p}",
            "{type}",
            "{self}",
            "{_}",
            "{:self$}",
            "{r#x}",
            "{99999999999999999999999}",
            "{:??}",
            "{größe}",
            "{a²}",
            "{:Ⓐ$}",
            "{:y}",
            "{:e?}",
            "{:65536}",
            "{:.65536}",
            "{:5.}}",
            "{-1}",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn the_source_of_a_literal_is_read_as_the_compiler_reads_it() {
        for (source, expected) in [
            (r#""plain""#, Some("plain")),
            (r#""\n\r\t\0\\\'\"""#, Some("\n\r\t\0\\'\"")),
            (r#""\x7b\x7d\u{7B}\u{1_F600}""#, Some("{}{\u{1F600}")),
            ("\"a\\\n   b\"", Some("ab")),
            ("r\"\\n{}\"", Some("\\n{}")),
            ("r##\"a\"#b\"##", Some("a\"#b")),
            ("b\"bytes\"", None),
            ("c\"c\"", None),
            ("'c'", None),
            ("1", None),
            ("\"\\q\"", None),
        ] {
            assert_eq!(unescaped(source).as_deref(), expected, "{source}");
        }
    }
}
