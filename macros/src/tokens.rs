//! Tokens: how they are looked at, and made from templates. Knows nothing of log calls.

use proc_macro::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};

/// Tokens, which become one stream at the end. Each operation on a stream is a call of the compiler
/// and takes longer.
pub(crate) type Tokens = Vec<TokenTree>;

/// Takes a token out of the groups without delimiters in which it is alone: those bind nothing.
pub(crate) fn opened(token: TokenTree) -> TokenTree {
    if let TokenTree::Group(group) = &token {
        let mut tokens = group.stream().into_iter();
        if let (Delimiter::None, Some(inner), None) = (group.delimiter(), tokens.next(), tokens.next()) {
            return opened(inner);
        }
    }
    token
}

/// Returns whether this is the name of a variable, which may stand wherever its value is asked for.
/// The name of a constant or of a unit struct may not, because each use makes a value, which is
/// dropped. By the compiler's lints the first letter of those two is a capital; an underscore may
/// be before it.
pub(crate) fn is_variable(tokens: &[TokenTree]) -> bool {
    let [TokenTree::Ident(name)] = tokens else { return false };
    let name = name.to_string();
    let first = name.trim_start_matches("r#").chars().find(|character| character.is_alphabetic());
    first.is_some_and(|letter| !letter.is_uppercase())
}

/// Splits `name = expression`; what has no name is the expression. Nothing where it cannot be
/// split: a group without delimiters that a procedural macro has opened binds nothing any more, so
/// that of `$e * 2`, where `$e` is `1 + 1`, there would be `1 + 1 * 2`. In a group that is handed
/// on unopened, such groups stay as they are.
pub(crate) fn named(argument: &TokenTree) -> Option<(Option<Ident>, Tokens)> {
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
        _ => Some((None, vec![argument.clone()])),
    }
}

/// Returns the macro's own name of an argument or a value.
pub(crate) fn own_name(number: usize, place: Span) -> Tokens {
    vec![Ident::new(&format!("__unfazed_argument_{number}"), Span::mixed_site().located_at(place)).into()]
}

/// Adds a template.
pub(crate) fn extend(tokens: &mut Tokens, text: &str, with: &[&[TokenTree]]) {
    tokens.extend(template(text, with));
}

/// Returns the tokens of a text, with these in the places of `__0`, `__1` and so on. The names of
/// variables in it are the macro's own, which the program's cannot meet. But a pattern may also
/// name an item of the program (`static level`), so they have names that no item has.
pub(crate) fn template(text: &str, with: &[&[TokenTree]]) -> Tokens {
    template_at(Span::mixed_site(), text, with)
}

/// A template that the compiler shows here if something is wrong with it.
pub(crate) fn template_at(place: Span, text: &str, with: &[&[TokenTree]]) -> Tokens {
    // Every text comes from this crate, and the tests of `unfazed` parse each of them.
    fill(text.parse().unwrap_or_default(), with, Span::mixed_site().located_at(place))
}

/// Returns the place of the first of these tokens, in whatever groups without delimiters it is:
/// such a group has the place of the macro that made it.
pub(crate) fn span_of(tokens: &[TokenTree]) -> Span {
    match tokens.first() {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::None => {
            span_of(&group.stream().into_iter().take(1).collect::<Tokens>())
        }
        Some(token) => token.span(),
        None => Span::mixed_site(),
    }
}

fn fill(tokens: TokenStream, with: &[&[TokenTree]], span: Span) -> Tokens {
    // Made in one step: each addition to a stream costs the compiler as much as a whole one.
    let mut filled = Vec::new();
    for mut token in tokens {
        let place = match &token {
            TokenTree::Ident(ident) => ident.to_string().strip_prefix("__").and_then(|number| number.parse().ok()),
            _ => None,
        };
        match (place.and_then(|place: usize| with.get(place)), &token) {
            (Some(tokens), _) => filled.extend_from_slice(tokens),
            (None, TokenTree::Group(group)) => {
                let mut own = Group::new(group.delimiter(), fill(group.stream(), with, span).into_iter().collect());
                own.set_span(span);
                filled.push(own.into());
            }
            (None, _) => {
                token.set_span(span);
                filled.push(token);
            }
        }
    }
    filled
}
