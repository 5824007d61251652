//! The procedural macro under the log macros of `unfazed`. Not to be used by itself: its input is
//! what those macros hand over, and may change with each version.
//!
//! It reads the literal of a log call, and writes a call that stores the arguments by their bytes,
//! and that gives `log` the same record where that is not enough. It parses no Rust: `macro_rules`
//! has split the arguments, and whatever is not understood here goes to `log` unchanged.

mod format;
mod tokens;

use std::collections::BTreeMap;
use std::slice;

use proc_macro::{Ident, Literal, Span, TokenStream, TokenTree};

use format::{Argument, Hole, Role, Use};
use tokens::{Tokens, extend, is_variable, named, opened, own_name, span_of, template, template_at};

/// Expands a log call. Its input: `[$crate] [target] [level] [key-values;] literal, argument,
/// ..`.
#[proc_macro]
pub fn deferred(input: TokenStream) -> TokenStream {
    let mut input = input.into_iter();
    let mut next = || match input.next() {
        Some(TokenTree::Group(group)) => group.stream().into_iter().collect(),
        _ => Tokens::new(),
    };
    let (root, target, level, key_values) = (next(), next(), next(), next());
    let key_values = pairs(key_values);
    let Some(literal) = input.next().map(opened) else { return TokenStream::new() };
    let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
    let arguments = input.filter(|token| !is_comma(token)).map(opened).collect();
    let call = Call { root, target, level, key_values, literal, arguments };
    call.deferred().unwrap_or_else(|| call.verbatim()).into_iter().collect()
}

/// A call with more arguments or values goes to `log`: a type is nested for each of them, and the
/// compiler limits how deep types may be nested.
const MOST_STORED: usize = 64;

/// A log call.
struct Call {
    /// The path of `unfazed`.
    root: Tokens,
    /// An expression, or nothing.
    target: Tokens,
    level: Tokens,
    key_values: Vec<Pair>,
    /// The format string.
    literal: TokenTree,
    /// Each of them `expression` or `name = expression`, in one token or a group without
    /// delimiters.
    arguments: Vec<TokenTree>,
}

/// A key with its value.
struct Pair {
    key: TokenTree,
    /// The expression; nothing if there is a capture.
    value: Option<Tokens>,
    /// All of it, as `log` takes it.
    whole: Tokens,
}

/// An argument as the literal names it.
struct Part {
    /// The expression.
    value: Tokens,
    /// Its name, if it has one.
    name: Option<Ident>,
    /// Only the literal names it.
    is_captured: bool,
    role: Role,
}

impl Role {
    /// Returns the code that reads an argument back.
    fn read(self) -> &'static str {
        match self {
            Self::Value => "let __0 = __1::__private::Reader::value(&mut __unfazed_arguments);",
            Self::Width => "let __0 = __1::__private::Reader::width(&mut __unfazed_arguments);",
        }
    }

    /// Returns the code that holds an argument until it is stored, and then the others.
    fn held(self) -> &'static str {
        match self {
            Self::Value => "(&__1, __2)",
            Self::Width => "(__0::__private::Width(&__1), __2)",
        }
    }
}

impl Call {
    /// Expands to the same call of `log`.
    fn verbatim(&self) -> Tokens {
        let mut arguments = Tokens::new();
        for argument in &self.arguments {
            extend(&mut arguments, ", __0", &[slice::from_ref(argument)]);
        }
        template(
            "__0::__private::log::log!(__1 __2, __3 __4 __5)",
            &[
                &self.root,
                &self.target_of_log(),
                &self.level,
                &self.values_of_log(),
                slice::from_ref(&self.literal),
                &arguments,
            ],
        )
    }

    /// Expands to `target: expression,` or nothing.
    fn target_of_log(&self) -> Tokens {
        if self.target.is_empty() { Tokens::new() } else { template("target: __0,", &[&self.target]) }
    }

    /// Expands to `key = value;` or nothing. A value that has no capture goes by `Plain`, which
    /// knows an `f32`.
    fn values_of_log(&self) -> Tokens {
        let mut all = Tokens::new();
        for (number, Pair { key, value, whole }) in self.key_values.iter().enumerate() {
            extend(&mut all, if number > 0 { "," } else { "" }, &[]);
            match value {
                Some(value) => {
                    let pair = "__0 = __1::__private::Plain::new(&(__2)).__unfazed_value()";
                    extend(&mut all, pair, &[slice::from_ref(key), &self.root, value]);
                }
                None => all.extend(whole.clone()),
            }
        }
        extend(&mut all, if self.key_values.is_empty() { "" } else { ";" }, &[]);
        all
    }

    /// Returns the keys and the expressions of all values; nothing if there is none, or one of them
    /// is not stored.
    fn stored_values(&self) -> Option<Vec<(Tokens, Tokens)>> {
        if !(1..=MOST_STORED).contains(&self.key_values.len()) || !self.target.is_empty() {
            return None;
        }
        let stored = |Pair { key, value, .. }: &Pair| Some((self.key_text(key)?, value.clone()?));
        self.key_values.iter().map(stored).collect()
    }

    /// Expands to the text of a key, if it is there while the program is compiled.
    fn key_text(&self, key: &TokenTree) -> Option<Tokens> {
        match key {
            TokenTree::Ident(ident) if ident.to_string() != "_" => {
                Some(template("__0::__private::stringify!(__1)", &[&self.root, slice::from_ref(key)]))
            }
            TokenTree::Literal(literal) if literal.to_string().starts_with(['"', 'r']) => Some(vec![key.clone()]),
            _ => None,
        }
    }

    /// Expands to a call that stores its arguments, if the literal and the arguments fit together.
    fn deferred(&self) -> Option<Tokens> {
        let TokenTree::Literal(literal) = &self.literal else { return None };
        let parsed = format::parsed(&format::unescaped(&literal.to_string())?)?;
        let (mut parts, order) = self.parts(literal, parsed.uses)?;
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
            (parsed.holes.iter().flat_map(|hole| self.piece(hole)).collect(), parsed.last)
        } else {
            (self.whole(literal, &parts), String::new())
        };
        let last = [Literal::string(&last).into()];
        let mut values = values.unwrap_or_default();
        let expressions = parts.iter_mut().map(|part| &mut part.value).chain(values.iter_mut().map(|(_, value)| value));
        let bound = bound(expressions.collect());
        let held = self.held_arguments(&parts, &order);
        let log = match (goes_by_log, self.key_values.is_empty()) {
            (false, _) => self.log(&parts, &held, &values),
            (true, true) => self.log_to(&parts, &held),
            (true, false) => self.log_by_log(&parts, &held),
        };
        let site = template(
            "static __UNFAZED_SITE: __0::__private::Site = __0::__private::Site::new(
                __0::__private::module_path!(), __0::__private::file!(), __0::__private::line!(), &[__1], __2
            ) __3;
            __4",
            &[&self.root, &pieces, &last, &with_keys(&values), &log],
        );
        let call = match bound {
            Some((references, names)) => template("match (__0) { (__1) => { __2 } }", &[&references, &names, &site]),
            None => site,
        };
        Some(template(
            "{{
                let __unfazed_level: __0::__private::log::Level = __1;
                if __0::__private::is_enabled(__unfazed_level) {
                    __2
                }
            }}",
            &[&self.root, &self.level, &call],
        ))
    }

    /// Expands to the call's end: what is stored is enough, or `log` is given the record.
    fn log(&self, parts: &[Part], held: &Tokens, values: &[(Tokens, Tokens)]) -> Tokens {
        let mut of_log = Tokens::new();
        for (_, value) in values {
            let value_of_log =
                "__0::__private::log::kv::ToValue::to_value(&__0::__private::Plain::new(&__1).__unfazed_value()),";
            extend(&mut of_log, value_of_log, &[&self.root, value]);
        }
        template(
            "if let __0::__private::Some(__unfazed_call) =
                __0::__private::AllStored::new(&__UNFAZED_SITE, &__1, &__2).__unfazed_log(__unfazed_level)
            {
                __0::__private::Call::log_whole(
                    &__unfazed_call, __unfazed_level, __0::__private::format_args!(__3 __4), &[__5]
                )
            }",
            &[
                &self.root,
                held,
                &self.held_values(values),
                slice::from_ref(&self.literal),
                &arguments_of_log(parts),
                &of_log,
            ],
        )
    }

    /// Expands to the end of a call with a target and without values.
    fn log_to(&self, parts: &[Part], held: &Tokens) -> Tokens {
        template(
            "__0::__private::Call::log_to(
                &__0::__private::AllStored::new(&__UNFAZED_SITE, &__1, &()).__unfazed_call(),
                &(__2, __unfazed_level), __0::__private::format_args!(__3 __4)
            )",
            &[&self.root, held, &self.target, slice::from_ref(&self.literal), &arguments_of_log(parts)],
        )
    }

    /// Expands to the end of a call whose record only `log` can make.
    fn log_by_log(&self, parts: &[Part], held: &Tokens) -> Tokens {
        template(
            "match __0::__private::AllStored::new(&__UNFAZED_SITE, &__1, &()).__unfazed_call() {
                __unfazed_call => {
                    __0::__private::log::log!(logger: __unfazed_call, __2 __unfazed_level, __3 __4 __5)
                }
            }",
            &[
                &self.root,
                held,
                &self.target_of_log(),
                &self.values_of_log(),
                slice::from_ref(&self.literal),
                &arguments_of_log(parts),
            ],
        )
    }

    /// Expands to the arguments as they are held until they are stored, in this order.
    fn held_arguments(&self, parts: &[Part], order: &[usize]) -> Tokens {
        self.held(order.iter().map(|number| (parts[*number].role.held(), &parts[*number].value)).collect())
    }

    /// Expands to the values as they are held until they are stored.
    fn held_values(&self, values: &[(Tokens, Tokens)]) -> Tokens {
        self.held(values.iter().map(|(_, value)| (Role::Value.held(), value)).collect())
    }

    /// Expands to a chain of pairs: `(a, (b, ()))`.
    fn held(&self, all: Vec<(&str, &Tokens)>) -> Tokens {
        let add = |chain: Tokens, (held, value): (&str, &Tokens)| {
            template_at(span_of(value), held, &[&self.root, value, &chain])
        };
        all.into_iter().rev().fold(template("()", &[]), add)
    }

    /// Expands to what writes a text and the next argument.
    fn piece(&self, hole: &Hole) -> Tokens {
        let text = [Literal::string(&hole.text).into()];
        let show = match format::shown_by(&hole.spec) {
            Some(name) => template(&format!("__0::__private::{name}"), &[&self.root]),
            None => template(
                "|__unfazed_bytes, __unfazed_text| __0::__private::fmt::Write::write_fmt(
                    __unfazed_text,
                    __0::__private::format_args!(
                        __1, __0::__private::Reader::value(&mut __0::__private::Reader::new(__unfazed_bytes))
                    ),
                )",
                &[&self.root, &[Literal::string(&format!("{{:{}}}", hole.spec)).into()]],
            ),
        };
        template("__0::__private::Piece { text: __1, show: __2 },", &[&self.root, &text, &show])
    }

    /// Expands to one piece that writes the whole message.
    fn whole(&self, literal: &Literal, parts: &[Part]) -> Tokens {
        let (mut read, mut layout) = (Tokens::new(), Tokens::new());
        for (number, part) in parts.iter().enumerate() {
            let name = own_name(number, Span::mixed_site());
            extend(&mut read, part.role.read(), &[&name, &self.root]);
            match &part.name {
                Some(own) => extend(&mut layout, ", __0 = __1", &[&[own.clone().into()], &name]),
                None => extend(&mut layout, ", __0", &[&name]),
            }
        }
        let literal = [literal.clone().into()];
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

    /// Returns the arguments in their order, then the names that stand in the literal alone; and
    /// for each use the number of its argument.
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
                        parts.push((Some(ident.clone()), vec![ident.into()], true, None));
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

/// Gives each expression a name of the macro's own and replaces the expression by it. Returns
/// references to the expressions, and the names. So each expression is evaluated once, before any
/// of them is used. If all of them are variables already, they need no other names, and the
/// compiler has less work.
fn bound(expressions: Vec<&mut Tokens>) -> Option<(Tokens, Tokens)> {
    if expressions.iter().all(|expression| is_variable(expression)) {
        return None;
    }
    let (mut references, mut names) = (Tokens::new(), Tokens::new());
    for (number, expression) in expressions.into_iter().enumerate() {
        let span = span_of(expression);
        let name = own_name(number, span);
        references.extend(template_at(span, "&(__0),", &[expression]));
        extend(&mut names, "__0,", &[&name]);
        *expression = template_at(span, "*__0", &[&name]);
    }
    Some((references, names))
}

/// Expands to `, argument, name = argument`, as `format_args!` takes them after the literal.
fn arguments_of_log(parts: &[Part]) -> Tokens {
    let mut arguments = Tokens::new();
    for part in parts {
        match &part.name {
            // The literal finds it where the call stands.
            Some(own) if part.is_captured && is_variable(&[own.clone().into()]) => {}
            Some(own) => {
                let own = [own.clone().into()];
                arguments.extend(template_at(span_of(&part.value), ", __0 = __1", &[&own, &part.value]));
            }
            None => arguments.extend(template_at(span_of(&part.value), ", __0", &[&part.value])),
        }
    }
    arguments
}

/// Expands to the keys of a site, if there are any.
fn with_keys(values: &[(Tokens, Tokens)]) -> Tokens {
    let mut keys = Tokens::new();
    for (key, _) in values {
        extend(&mut keys, "__0,", &[key]);
    }
    if keys.is_empty() { keys } else { template(".with_keys(&[__0])", &[&keys]) }
}

/// Splits `key = value, key, key:? = value;`.
fn pairs(key_values: Tokens) -> Vec<Pair> {
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
        [TokenTree::Ident(_)] => Some(pair.clone()),
        [_, TokenTree::Punct(punct), value @ ..] if punct.as_char() == '=' => {
            Some(value.iter().cloned().map(opened).collect())
        }
        _ => None,
    };
    Some(Pair { key: pair.first()?.clone(), value, whole: pair })
}
