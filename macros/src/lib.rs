//! The procedural macro under the log macros of `unfazed`. Not to be used by itself: its input is
//! what those macros hand over, and may change with each version.
//!
//! It reads the literal of a log call, and writes a call that stores the arguments by their bytes,
//! and that gives `log` the same record where that is not enough. It parses no Rust: `macro_rules`
//! has split the arguments, and whatever is not understood here goes to `log` unchanged.

mod format;

use std::collections::BTreeMap;

use proc_macro::{Delimiter, Group, Ident, Literal, Span, TokenStream, TokenTree};

use format::{Argument, Hole, Role, Use};

/// Expands a log call. Its input: `[$crate] [target: ..,] [level] [key-values;] literal, argument,
/// ..`.
#[proc_macro]
pub fn deferred(input: TokenStream) -> TokenStream {
    let mut input = input.into_iter();
    let mut next = || match input.next() {
        Some(TokenTree::Group(group)) => group.stream(),
        _ => TokenStream::new(),
    };
    let (root, target, level, key_values) = (next(), next(), next(), next());
    let key_values = pairs(key_values);
    let Some(literal) = input.next() else { return TokenStream::new() };
    let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
    let arguments = input.filter(|token| !is_comma(token)).collect();
    let call = Call { root, target, level, key_values, literal, arguments };
    call.deferred().unwrap_or_else(|| call.verbatim())
}

/// A call with more arguments or values goes to `log`: a type is nested for each of them, and the
/// compiler takes only so many.
const MOST_STORED: usize = 64;

/// A log call.
struct Call {
    /// The path of `unfazed`.
    root: TokenStream,
    /// `target: expression,` or nothing.
    target: TokenStream,
    level: TokenStream,
    key_values: Vec<Pair>,
    /// The format string, maybe in groups without delimiters.
    literal: TokenTree,
    /// Each of them `expression` or `name = expression`, in a group without delimiters.
    arguments: Vec<TokenTree>,
}

/// A key with its value.
struct Pair {
    key: TokenTree,
    /// The expression; nothing if there is a capture.
    value: Option<TokenStream>,
    /// All of it, as `log` takes it.
    whole: TokenStream,
}

/// An argument as the literal names it.
struct Part {
    /// The expression.
    value: TokenStream,
    /// Its name, if it has one.
    name: Option<Ident>,
    /// Only the literal names it.
    is_captured: bool,
    role: Role,
}

impl Role {
    /// How an argument is read back.
    fn read(self) -> &'static str {
        match self {
            Self::Value => "let __0 = __1::__private::Reader::value(&mut __unfazed_arguments);",
            Self::Width => "let __0 = __1::__private::Reader::width(&mut __unfazed_arguments);",
        }
    }

    /// How an argument is held until it is stored, and then the others.
    fn held(self) -> &'static str {
        match self {
            Self::Value => "((&&__0::__private::Argument(__1)).__unfazed_hold(), __2)",
            Self::Width => "((&&__0::__private::Width(__1)).__unfazed_hold(), __2)",
        }
    }
}

impl Call {
    /// Expands to the same call of `log`.
    fn verbatim(&self) -> TokenStream {
        let mut arguments = TokenStream::new();
        for argument in &self.arguments {
            extend(&mut arguments, ", __0", &[&argument.clone().into()]);
        }
        let literal = TokenStream::from(self.literal.clone());
        template(
            "__0::__private::log::log!(__1 __2, __3 __4 __5)",
            &[&self.root, &self.target, &self.level, &self.values_of_log(), &literal, &arguments],
        )
    }

    /// Expands to `key = value;` or nothing. A value that has no capture goes by `Plain`, which
    /// knows an `f32`.
    fn values_of_log(&self) -> TokenStream {
        let mut all = TokenStream::new();
        for (number, Pair { key, value, whole }) in self.key_values.iter().enumerate() {
            extend(&mut all, if number > 0 { "," } else { "" }, &[]);
            match value {
                Some(value) => {
                    let pair = "__0 = __1::__private::Plain::new(&(__2)).__unfazed_value()";
                    extend(&mut all, pair, &[&key.clone().into(), &self.root, value]);
                }
                None => all.extend(whole.clone()),
            }
        }
        extend(&mut all, if self.key_values.is_empty() { "" } else { ";" }, &[]);
        all
    }

    /// The keys and the expressions of all values; nothing if there is none, or one of them is not
    /// stored.
    fn stored_values<'a>(&'a self) -> Option<Vec<(TokenStream, &'a TokenStream)>> {
        if !(1..=MOST_STORED).contains(&self.key_values.len()) || !self.target.is_empty() {
            return None;
        }
        let stored = |Pair { key, value, .. }: &'a Pair| Some((self.key_text(key)?, value.as_ref()?));
        self.key_values.iter().map(stored).collect()
    }

    /// Expands to the text of a key, if it is there while the program is compiled.
    fn key_text(&self, key: &TokenTree) -> Option<TokenStream> {
        match key {
            TokenTree::Ident(ident) if ident.to_string() != "_" => {
                Some(template("__0::__private::stringify!(__1)", &[&self.root, &key.clone().into()]))
            }
            TokenTree::Literal(literal) if literal.to_string().starts_with(['"', 'r']) => Some(key.clone().into()),
            _ => None,
        }
    }

    /// Expands to a call that stores its arguments, if the literal and the arguments fit together.
    fn deferred(&self) -> Option<TokenStream> {
        let literal = literal(self.literal.clone())?;
        let parsed = format::parsed(&format::unescaped(&literal.to_string())?)?;
        let (parts, order) = self.parts(&literal, parsed.uses)?;
        let values = self.stored_values();
        // A call without arguments whose target or values go by `log` has nothing to store.
        let goes_by_log = values.is_none() && !(self.target.is_empty() && self.key_values.is_empty());
        if parts.len() > MOST_STORED || parts.is_empty() && goes_by_log {
            return None;
        }
        // Each hole writes one argument, which no other writes, and nothing else.
        let has_pieces = order.len() == parts.len() && order.len() == parsed.holes.len();
        let order = if has_pieces { order } else { (0..parts.len()).collect() };
        let (pieces, last) = if has_pieces {
            (parsed.holes.iter().map(|hole| self.piece(hole)).collect(), parsed.last)
        } else {
            (self.whole(&literal, &parts), String::new())
        };
        let last = TokenTree::from(Literal::string(&last)).into();
        let values = values.unwrap_or_default();
        let (references, names) = bindings(&parts, &values);
        let log = if goes_by_log { self.log_by_log(&parts) } else { self.log(&parts, values.len()) };
        Some(template(
            "{
                let __unfazed_level = __1;
                if __unfazed_level <= __0::__private::log::STATIC_MAX_LEVEL
                    && __unfazed_level <= __0::__private::log::max_level()
                {
                    match (__2) {
                        (__3) => {
                            static __UNFAZED_SITE: __0::__private::Site =
                                __0::__private::Site::new(
                                    __0::__private::module_path!(),
                                    __0::__private::file!(),
                                    __0::__private::line!(),
                                    &[__4],
                                    __5
                                ) __6;
                            match __0::__private::Call::new(&__UNFAZED_SITE, &__7) {
                                __unfazed_call => { __8 },
                            }
                        }
                    }
                }
            }",
            &[
                &self.root,
                &self.level,
                &references,
                &names,
                &pieces,
                &last,
                &with_keys(&values),
                &self.held_arguments(&parts, &order),
                &log,
            ],
        ))
    }

    /// Expands to the call's end: what is stored is enough, or `log` is given the record.
    fn log(&self, parts: &[Part], values: usize) -> TokenStream {
        let mut of_log = TokenStream::new();
        for number in 0..values {
            let value =
                "__0::__private::log::kv::ToValue::to_value(&__0::__private::Plain::new(__1).__unfazed_value()),";
            extend(&mut of_log, value, &[&self.root, &value_name(number)]);
        }
        template(
            "if !__0::__private::Call::log_stored(&__unfazed_call, __unfazed_level, &__1) {
                __0::__private::Call::log_whole(
                    &__unfazed_call, __unfazed_level, __0::__private::format_args!(__2 __3), &[__4]
                )
            }",
            &[&self.root, &self.held_values(values), &self.literal.clone().into(), &arguments_of_log(parts), &of_log],
        )
    }

    /// Expands to the end of a call whose record only `log` can make.
    fn log_by_log(&self, parts: &[Part]) -> TokenStream {
        template(
            "__0::__private::log::log!(logger: __unfazed_call, __1 __unfazed_level, __2 __3 __4)",
            &[&self.root, &self.target, &self.values_of_log(), &self.literal.clone().into(), &arguments_of_log(parts)],
        )
    }

    /// Expands to the arguments as they are held until they are stored, in this order.
    fn held_arguments(&self, parts: &[Part], order: &[usize]) -> TokenStream {
        let one = |number: &usize| (parts[*number].role.held(), argument_name(*number));
        self.held(order.iter().map(one).collect())
    }

    /// Expands to this many values as they are held until they are stored.
    fn held_values(&self, count: usize) -> TokenStream {
        const HELD: &str = "((&&__0::__private::ValueOf(__1)).__unfazed_hold(), __2)";
        self.held((0..count).map(|number| (HELD, value_name(number))).collect())
    }

    /// Expands to a chain of pairs: `(a, (b, ()))`.
    fn held(&self, all: Vec<(&str, TokenStream)>) -> TokenStream {
        let chain = template("()", &[]);
        if all.is_empty() {
            return chain;
        }
        let add = |chain, (held, name): (&str, TokenStream)| template(held, &[&self.root, &name, &chain]);
        template(
            "{
                use __0::__private::{HoldByFacade as _, HoldByValue as _};
                __1
            }",
            &[&self.root, &all.into_iter().rev().fold(chain, add)],
        )
    }

    /// Expands to what writes a text and the next argument.
    fn piece(&self, hole: &Hole) -> TokenStream {
        let text = TokenTree::from(Literal::string(&hole.text)).into();
        let number_after = |prefix: &'static str| hole.spec.strip_prefix(prefix)?.parse::<usize>().ok();
        let show = match (&*hole.spec, number_after("."), number_after("0")) {
            ("", ..) => template("__0::__private::display", &[&self.root]),
            ("?", ..) => template("__0::__private::debug", &[&self.root]),
            (_, Some(digits @ 0..=9), _) => template(&format!("__0::__private::fixed::<{digits}>"), &[&self.root]),
            (_, _, Some(width @ 1..=40)) => template(&format!("__0::__private::zero_padded::<{width}>"), &[&self.root]),
            (spec, ..) => template(
                "|__unfazed_bytes, __unfazed_text| __0::__private::fmt::Write::write_fmt(
                    __unfazed_text,
                    __0::__private::format_args!(
                        __1, __0::__private::Reader::value(&mut __0::__private::Reader::new(__unfazed_bytes))
                    ),
                )",
                &[&self.root, &TokenTree::from(Literal::string(&format!("{{:{spec}}}"))).into()],
            ),
        };
        template("__0::__private::Piece { text: __1, show: __2 },", &[&self.root, &text, &show])
    }

    /// Expands to one piece that writes the whole message.
    fn whole(&self, literal: &Literal, parts: &[Part]) -> TokenStream {
        let (mut read, mut layout) = (TokenStream::new(), TokenStream::new());
        for (number, part) in parts.iter().enumerate() {
            let name = argument_name(number);
            extend(&mut read, part.role.read(), &[&name, &self.root]);
            match &part.name {
                Some(own) => extend(&mut layout, ", __0 = __1", &[&TokenTree::from(own.clone()).into(), &name]),
                None => extend(&mut layout, ", __0", &[&name]),
            }
        }
        let literal = TokenStream::from(TokenTree::from(literal.clone()));
        template(
            "__0::__private::Piece {
                text: \"\",
                show: |__unfazed_bytes, __unfazed_text| {
                    let mut __unfazed_arguments = __0::__private::Reader::new(__unfazed_bytes);
                    __1
                    __0::__private::fmt::Write::write_fmt(__unfazed_text, __0::__private::format_args!(__2 __3))
                },
            },",
            &[&self.root, &read, &literal, &layout],
        )
    }

    /// The arguments in their order, then the names that stand in the literal alone; and for each
    /// use the number of its argument.
    fn parts(&self, literal: &Literal, uses: Vec<Use>) -> Option<(Vec<Part>, Vec<usize>)> {
        let mut order = Vec::new();
        let mut parts = Vec::new();
        let mut numbers = BTreeMap::new();
        for argument in &self.arguments {
            let (name, value) = named(argument)?;
            if let Some(name) = &name {
                numbers.insert(name.to_string(), parts.len());
            }
            parts.push((name, value, false, None));
        }
        for Use { argument, role } in uses {
            let number = match argument {
                Argument::Number(number) => number,
                Argument::Name(name) => match numbers.get(&name) {
                    Some(number) => *number,
                    None => {
                        // An identifier finds what the literal finds: what stands at its place.
                        let ident = Ident::new(&name, literal.span());
                        numbers.insert(name, parts.len());
                        parts.push((Some(ident.clone()), TokenTree::from(ident).into(), true, None));
                        parts.len() - 1
                    }
                },
            };
            order.push(number);
            let known = &mut parts.get_mut(number)?.3;
            match known {
                Some(known) if *known != role => return None,
                known => *known = Some(role),
            }
        }
        let parts = parts
            .into_iter()
            .map(|(name, value, is_captured, role)| Some(Part { value, name, is_captured, role: role? }));
        Some((parts.collect::<Option<_>>()?, order))
    }
}

/// The literal in this token, if it is one.
fn literal(token: TokenTree) -> Option<Literal> {
    match token {
        TokenTree::Literal(literal) => Some(literal),
        TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
            let mut tokens = group.stream().into_iter();
            match (tokens.next(), tokens.next()) {
                (Some(token), None) => literal(token),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Expands to references to all arguments and values, and to the names that they get.
fn bindings(parts: &[Part], values: &[(TokenStream, &TokenStream)]) -> (TokenStream, TokenStream) {
    let (mut references, mut names) = (TokenStream::new(), TokenStream::new());
    let parts = parts.iter().enumerate().map(|(number, part)| (argument_name(number), &part.value));
    let values = values.iter().enumerate().map(|(number, (_, value))| (value_name(number), *value));
    for (name, value) in parts.chain(values) {
        references.extend(template_at(span_of(value), "&(__0),", &[value]));
        extend(&mut names, "__0,", &[&name]);
    }
    if names.is_empty() {
        // A tuple of nothing is a thing that clippy would do without.
        extend(&mut references, "__unfazed_level,", &[]);
        extend(&mut names, "_,", &[]);
    }
    (references, names)
}

/// Expands to `, argument, name = argument`, as `format_args!` takes them after the literal.
fn arguments_of_log(parts: &[Part]) -> TokenStream {
    let mut arguments = TokenStream::new();
    for (number, part) in parts.iter().enumerate() {
        let name = own_name("argument", number, span_of(&part.value));
        match &part.name {
            // The literal finds it where the call stands.
            Some(_) if part.is_captured => {}
            Some(own) => {
                let own = TokenTree::from(own.clone()).into();
                arguments.extend(template_at(span_of(&part.value), ", __0 = *__1", &[&own, &name]));
            }
            None => arguments.extend(template_at(span_of(&part.value), ", *__0", &[&name])),
        }
    }
    arguments
}

/// Expands to the keys of a site, if there are any.
fn with_keys(values: &[(TokenStream, &TokenStream)]) -> TokenStream {
    let mut keys = TokenStream::new();
    for (key, _) in values {
        extend(&mut keys, "__0,", &[key]);
    }
    if keys.is_empty() { keys } else { template(".with_keys(&[__0])", &[&keys]) }
}

/// Splits `name = expression`; what has no name is the expression. Nothing where it cannot be
/// split: a group without delimiters that a procedural macro has opened binds nothing any more, so
/// that of `$e * 2`, where `$e` is `1 + 1`, there would be `1 + 1 * 2`. In a group that is handed
/// on unopened, such groups stay as they are.
fn named(argument: &TokenTree) -> Option<(Option<Ident>, TokenStream)> {
    let is_equals =
        |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == '=');
    let is_bare = |token: &TokenTree| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::None);
    let mut tokens = match argument {
        TokenTree::Group(group) if is_bare(argument) => group.stream().into_iter(),
        _ => TokenStream::new().into_iter(),
    };
    let (name, equals, rest) = (tokens.next(), tokens.next(), tokens.collect::<Vec<_>>());
    match name {
        Some(TokenTree::Ident(name)) if is_equals(equals.as_ref()) && !is_equals(rest.first()) => {
            let is_whole = rest.len() == 1 || !rest.iter().any(is_bare);
            is_whole.then(|| (Some(name), rest.into_iter().collect()))
        }
        _ => Some((None, argument.clone().into())),
    }
}

/// Splits `key = value, key, key:? = value;`.
fn pairs(key_values: TokenStream) -> Vec<Pair> {
    let (mut pairs, mut pair) = (Vec::new(), Vec::new());
    for token in key_values {
        match &token {
            TokenTree::Punct(punct) if matches!(punct.as_char(), ',' | ';') => {
                pairs.extend(read_pair(std::mem::take(&mut pair)));
            }
            _ => pair.push(token),
        }
    }
    pairs
}

fn read_pair(pair: Vec<TokenTree>) -> Option<Pair> {
    let value = match &pair[..] {
        [TokenTree::Ident(key)] => Some(TokenTree::from(key.clone()).into()),
        [_, TokenTree::Punct(punct), value @ ..] if punct.as_char() == '=' => Some(value.iter().cloned().collect()),
        _ => None,
    };
    Some(Pair { key: pair.first()?.clone(), value, whole: pair.into_iter().collect() })
}

/// The macro's own name of an argument.
fn argument_name(number: usize) -> TokenStream {
    own_name("argument", number, Span::mixed_site())
}

/// The macro's own name of a value.
fn value_name(number: usize) -> TokenStream {
    own_name("value", number, Span::mixed_site())
}

fn own_name(kind: &str, number: usize, place: Span) -> TokenStream {
    let span = Span::mixed_site().located_at(place);
    TokenTree::from(Ident::new(&format!("__unfazed_{kind}_{number}"), span)).into()
}

fn extend(tokens: &mut TokenStream, text: &str, with: &[&TokenStream]) {
    tokens.extend(template(text, with));
}

/// The tokens of a text, with these in the places of `__0`, `__1` and so on. The names of
/// variables in it are the macro's own, which the program's cannot meet. But a pattern may also
/// name an item of the program (`static level`), so they have names that no item has.
fn template(text: &str, with: &[&TokenStream]) -> TokenStream {
    template_at(Span::mixed_site(), text, with)
}

/// A template that the compiler shows here if something is wrong with it.
fn template_at(place: Span, text: &str, with: &[&TokenStream]) -> TokenStream {
    // Each text stands in this file and has been parsed by its tests.
    fill(text.parse().unwrap_or_default(), with, Span::mixed_site().located_at(place))
}

/// The place of the first of these tokens, in whatever groups without delimiters it is: such a
/// group has the place of the macro that made it.
fn span_of(tokens: &TokenStream) -> Span {
    match tokens.clone().into_iter().next() {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::None => span_of(&group.stream()),
        Some(token) => token.span(),
        None => Span::mixed_site(),
    }
}

fn fill(tokens: TokenStream, with: &[&TokenStream], span: Span) -> TokenStream {
    // Made in one step: each addition to a stream costs the compiler as much as a whole one.
    let mut filled = Vec::new();
    for mut token in tokens {
        let place = match &token {
            TokenTree::Ident(ident) => ident.to_string().strip_prefix("__").and_then(|number| number.parse().ok()),
            _ => None,
        };
        match (place.and_then(|place: usize| with.get(place)), &token) {
            (Some(tokens), _) => filled.extend((*tokens).clone()),
            (None, TokenTree::Group(group)) => {
                let mut own = Group::new(group.delimiter(), fill(group.stream(), with, span));
                own.set_span(span);
                filled.push(own.into());
            }
            (None, _) => {
                token.set_span(span);
                filled.push(token);
            }
        }
    }
    filled.into_iter().collect()
}
