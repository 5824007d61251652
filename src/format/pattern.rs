//! A line as a list of parts with text between them: the text format, and what a program writes as
//! `{time} {level:5} {message}`. Runs on the writer's thread, except the parser.

use log::Level;

use crate::record::Record;

use super::escape::{Controls, misleads, push_text};
use super::options::Options;
use super::pairs::push_pairs;
use super::time::TimeText;
use super::{LONGEST_ESCAPE, push_number, short_target, thread};

/// The parts of a pattern, for a message.
pub(super) const GRAMMAR: &str = "text with the parts {time}, {level}, {target}, {module}, {thread}, {file}, {line}, {location}, \
     {message} and {kv}, each with a width if it needs one ({level:5}, {line:>4}), and {{ and }} for braces";

/// The escapes that turn a colour on and off take at most this many bytes.
const LONGEST_COLOR: usize = 64;

/// The widest column, in characters.
const WIDEST: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part {
    Time,
    Level,
    Target,
    Module,
    Thread,
    File,
    Line,
    Location,
    Message,
    KeyValues,
}

impl Part {
    fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "time" => Part::Time,
            "level" => Part::Level,
            "target" => Part::Target,
            "module" => Part::Module,
            "thread" => Part::Thread,
            "file" => Part::File,
            "line" => Part::Line,
            "location" => Part::Location,
            "message" => Part::Message,
            "kv" => Part::KeyValues,
            _ => return None,
        })
    }

    /// Returns whether there are records without it.
    fn may_be_missing(self) -> bool {
        matches!(self, Part::Module | Part::Thread | Part::File | Part::Line | Part::Location)
    }
}

/// One part, and what is around it.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) before: String,
    pub(super) part: Part,
    pub(super) after: String,
    /// Where a record has not got the part, its surroundings go, too; otherwise `-` is there.
    pub(super) is_optional: bool,
    pub(super) width: usize,
    /// The part is at the right of its column.
    pub(super) is_right: bool,
}

impl Piece {
    pub(super) fn new(before: &str, part: Part) -> Self {
        Self { before: before.to_owned(), part, after: String::new(), is_optional: false, width: 0, is_right: false }
    }

    /// Returns the whole piece as it is in a line of each level, the loudest first. What turns
    /// a colour on has no width.
    fn levels(&self, colors: Option<&[(String, String)]>) -> Vec<String> {
        let Self { before, after, width, .. } = self;
        let one = |(place, level): (usize, Level)| {
            let word = level.as_str();
            let blank = " ".repeat(width.saturating_sub(word.len()));
            let (left, right) = if self.is_right { (&*blank, "") } else { ("", &*blank) };
            let (on, off) = colors.and_then(|colors| colors.get(place)).map_or(("", ""), |(on, off)| (on, off));
            format!("{before}{left}{on}{word}{off}{right}{after}")
        };
        Level::iter().enumerate().map(one).collect()
    }
}

/// Reads a pattern into its pieces and the text after the last of them. The error says where the
/// pattern is wrong.
pub(super) fn parse(pattern: &str) -> Result<(Vec<Piece>, String), String> {
    let place = |at: usize| pattern[..at].chars().count() + 1;
    let (mut pieces, mut text) = (Vec::new(), String::new());
    let mut at = 0;
    while let Some(character) = pattern[at..].chars().next() {
        let rest = &pattern[at + character.len_utf8()..];
        match character {
            '{' | '}' if rest.starts_with(character) => {
                text.push(character);
                at += 2;
            }
            '{' => {
                let Some((inside, _)) = rest.split_once('}') else {
                    return Err(format!("character {}: the brace is not closed", place(at)));
                };
                let piece = piece(&text, inside);
                pieces
                    .push(piece.ok_or_else(|| format!("character {}: `{{{inside}}}` is not a known part", place(at)))?);
                text.clear();
                at += inside.len() + 2;
            }
            '}' => return Err(format!("character {}: the brace closes nothing", place(at))),
            other if misleads(other) => {
                return Err(format!("character {} is a control character", place(at)));
            }
            other => {
                text.push(other);
                at += other.len_utf8();
            }
        }
    }
    Ok((pieces, text))
}

/// Reads the text inside of braces: `level`, `level:5`, `line:>4`.
fn piece(before: &str, inside: &str) -> Option<Piece> {
    let (name, column) = inside.split_once(':').unwrap_or((inside, "0"));
    let digits = column.strip_prefix(['<', '>']).unwrap_or(column);
    let width = digits.parse().ok().filter(|width| *width <= WIDEST && digits.bytes().all(|b| b.is_ascii_digit()))?;
    let part = Part::by_name(name)?;
    if part == Part::KeyValues && inside != name {
        return None;
    }
    Some(Piece { width, is_right: column.starts_with('>'), ..Piece::new(before, part) })
}

/// What a line is made of, one after the other.
enum Step {
    Text(String),
    /// For each level, the loudest first.
    Level(Vec<String>),
    Time,
    Target,
    Message,
    KeyValues(Piece),
    /// A part that may be missing, or has a column.
    Other(Piece),
}

/// Returns the steps of these pieces. Texts that follow each other are one.
fn steps(pieces: Vec<Piece>, end: String, level_colors: Option<&[(String, String)]>) -> Vec<Step> {
    let mut steps = Vec::new();
    for piece in pieces {
        let is_plain = piece.width == 0 && !piece.is_optional;
        match piece.part {
            Part::Level => push_levels(&mut steps, piece.levels(level_colors)),
            Part::Time if is_plain => push_plain(&mut steps, Step::Time, piece),
            Part::Target if is_plain => push_plain(&mut steps, Step::Target, piece),
            Part::Message if is_plain => push_plain(&mut steps, Step::Message, piece),
            Part::KeyValues => steps.push(Step::KeyValues(piece)),
            _ => steps.push(Step::Other(piece)),
        }
    }
    push_step_text(&mut steps, end);
    steps
}

/// Adds a step whose surroundings are texts of their own.
fn push_plain(steps: &mut Vec<Step>, step: Step, Piece { before, after, .. }: Piece) {
    push_step_text(steps, before);
    steps.push(step);
    push_step_text(steps, after);
}

fn push_levels(steps: &mut Vec<Step>, levels: Vec<String>) {
    let before = match steps.pop() {
        Some(Step::Text(text)) => text,
        other => {
            steps.extend(other);
            String::new()
        }
    };
    steps.push(Step::Level(levels.iter().map(|text| format!("{before}{text}")).collect()));
}

fn push_step_text(steps: &mut Vec<Step>, text: String) {
    match steps.last_mut() {
        _ if text.is_empty() => {}
        Some(Step::Text(before)) => before.push_str(&text),
        Some(Step::Level(levels)) => levels.iter_mut().for_each(|before| before.push_str(&text)),
        _ => steps.push(Step::Text(text)),
    }
}

/// A pattern at work: its options decided once.
pub(super) struct Pattern {
    steps: Vec<Step>,
    message: Controls,
    short_target: bool,
    /// What turns the colour of a whole line on and off, by its level, the loudest first.
    line_colors: Option<Vec<(String, String)>>,
    /// The constant fields, as each line has them.
    fields: Vec<u8>,
    /// What is in a line next to the parts of a record, in bytes: texts, columns, colours.
    own: usize,
    /// How often the parts of a record are in a line beyond the first time.
    copies: usize,
}

impl Pattern {
    pub(super) fn new((pieces, end): (Vec<Piece>, String), options: &Options) -> Self {
        let mut fields = Vec::new();
        push_pairs(&mut fields, options.fields.pairs(), Controls::Rust);
        let of_piece = |piece: &Piece| piece.before.len() + piece.after.len() + piece.width + LONGEST_COLOR;
        let count = |part: Part| pieces.iter().filter(|piece| piece.part == part).count();
        let texts =
            [Part::Message, Part::KeyValues, Part::Target, Part::Module, Part::Thread, Part::File, Part::Location];
        let own = pieces.iter().map(of_piece).sum::<usize>() + end.len() + fields.len() * count(Part::KeyValues);
        let copies = texts.into_iter().map(count).max().unwrap_or(0).saturating_sub(1);
        let palette = options.colors.is_wanted.then(|| options.colors.palette());
        let color = |(on, off): (&str, &str)| (on.to_owned(), off.to_owned());
        let colors: Option<Vec<_>> =
            palette.map(|palette| Level::iter().map(|level| color(palette.style(level))).collect());
        let (line_colors, level_colors) = if options.colors.whole_line { (colors, None) } else { (None, colors) };
        Self {
            steps: steps(pieces, end, level_colors.as_deref()),
            message: if options.multiline { Controls::Indented } else { Controls::Rust },
            short_target: options.short_target,
            line_colors,
            fields,
            own,
            copies,
        }
    }

    /// Returns the bytes that a line takes in addition to the parts of the record, each once.
    #[inline]
    pub(super) fn overhead(&self, record: &Record<'_>) -> usize {
        self.own + self.copies * record.text_len() * LONGEST_ESCAPE
    }

    pub(super) fn line(&self, out: &mut Vec<u8>, record: &Record<'_>, time: &mut TimeText) {
        let level = record.level() as usize - 1;
        let color = self.line_colors.as_ref().and_then(|colors| colors.get(level));
        if let Some((on, _)) = color {
            out.extend_from_slice(on.as_bytes());
        }
        for step in &self.steps {
            match step {
                Step::Text(text) => push_short(out, text),
                Step::Level(texts) => out.extend_from_slice(texts.get(level).map_or("", |text| text).as_bytes()),
                Step::Time => time.write(out, record.unix_time()),
                Step::Target => self.target(out, record),
                Step::Message => push_text(out, record.message_bytes(), self.message),
                Step::KeyValues(piece) => {
                    push_short(out, &piece.before);
                    self.key_values(out, piece, record);
                }
                Step::Other(piece) => self.other(out, piece, record, time),
            }
        }
        if let Some((_, off)) = color {
            out.extend_from_slice(off.as_bytes());
        }
    }

    #[inline]
    fn target(&self, out: &mut Vec<u8>, record: &Record<'_>) {
        let target = record.target();
        push_text(out, if self.short_target { short_target(target) } else { target }, Controls::Rust);
    }

    /// A part that may be missing, or has a column.
    #[inline(never)]
    fn other(&self, out: &mut Vec<u8>, piece: &Piece, record: &Record<'_>, time: &mut TimeText) {
        let start = out.len();
        push_short(out, &piece.before);
        let from = out.len();
        match piece.part {
            Part::Time => time.write(out, record.unix_time()),
            Part::Message => push_text(out, record.message_bytes(), self.message),
            Part::Target => self.target(out, record),
            other => push_origin(out, other, record),
        }
        if out.len() == from && piece.is_optional {
            out.truncate(start);
            return;
        }
        if out.len() == from && piece.part.may_be_missing() {
            out.push(b'-');
        }
        if piece.width > 0 {
            pad(out, from, piece);
        }
        push_short(out, &piece.after);
    }

    /// Appends the key-values with a space before each, except the first one where the pattern has
    /// another character there.
    fn key_values(&self, out: &mut Vec<u8>, piece: &Piece, record: &Record<'_>) {
        // The space of the pattern is that of the first key-value.
        let has_space = out.last() == Some(&b' ') && piece.before.ends_with(' ');
        let has_none = !piece.is_optional && !has_space;
        if has_space {
            out.pop();
        }
        let from = out.len();
        if !self.fields.is_empty() {
            out.extend_from_slice(&self.fields);
        }
        push_pairs(out, record.key_values(), Controls::Rust);
        if has_none && out.len() > from {
            out.remove(from);
        }
    }
}

/// Appends a part of where a record comes from, if it is known.
fn push_origin(out: &mut Vec<u8>, part: Part, record: &Record<'_>) {
    match (part, record.file(), record.line()) {
        (Part::Thread, _, _) => {
            if let Some(thread) = thread(record) {
                push_text(out, &*thread, Controls::Rust);
            }
        }
        (Part::Module, _, _) => push_text(out, record.module_path().unwrap_or(""), Controls::Rust),
        (Part::Line, _, Some(line)) => push_number(out, line.into()),
        (Part::Location, Some(file), Some(line)) => {
            push_text(out, file, Controls::Rust);
            out.push(b':');
            push_number(out, line.into());
        }
        (Part::File | Part::Location, Some(file), _) => push_text(out, file, Controls::Rust),
        _ => {}
    }
}

/// Appends a text that is nearly always empty or one character long, without a call to `memcpy`.
#[inline]
fn push_short(out: &mut Vec<u8>, text: &str) {
    match *text.as_bytes() {
        [] => {}
        [byte] => out.push(byte),
        ref bytes => out.extend_from_slice(bytes),
    }
}

/// Fills the column of what stands from `from` on.
#[cold]
fn pad(out: &mut Vec<u8>, from: usize, piece: &Piece) {
    // Each character has one byte that does not continue another.
    let characters = out[from..].iter().filter(|byte| **byte & 0b1100_0000 != 0b1000_0000).count();
    let blank = piece.width.saturating_sub(characters);
    let at = if piece.is_right { from } else { out.len() };
    out.splice(at..at, std::iter::repeat_n(b' ', blank));
}
