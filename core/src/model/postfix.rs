//! Serialises functions as lists of tokens in postfix order: no nesting, so that a file cannot nest without bound.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::function::{Binary, Function, Unary};

/// Most tokens of one function.
const MAX_TOKENS: usize = 512;

#[derive(Serialize, Deserialize)]
enum Token {
    X,
    Constant(f64),
    Unary(Unary),
    Binary(Binary),
}

fn tokens(function: &Function, list: &mut Vec<Token>) {
    match function {
        Function::X => list.push(Token::X),
        Function::Constant(value) => list.push(Token::Constant(*value)),
        Function::Unary(op, a) => {
            tokens(a, list);
            list.push(Token::Unary(*op));
        }
        Function::Binary(op, a, b) => {
            tokens(a, list);
            tokens(b, list);
            list.push(Token::Binary(*op));
        }
    }
}

/// Whether a function is short enough to be written, and its constants are numbers that every format can hold.
#[must_use]
pub fn is_writable(function: &Function) -> bool {
    let mut list = Vec::new();
    tokens(function, &mut list);
    list.len() <= MAX_TOKENS && list.iter().all(|token| !matches!(token, Token::Constant(c) if !c.is_finite()))
}

/// Writes the functions.
///
/// # Errors
/// The serializer's.
pub fn serialize<S: Serializer>(functions: &[Function], serializer: S) -> Result<S::Ok, S::Error> {
    let lists: Vec<Vec<Token>> = functions
        .iter()
        .map(|function| {
            let mut list = Vec::new();
            tokens(function, &mut list);
            list
        })
        .collect();
    lists.serialize(serializer)
}

/// Reads functions back.
///
/// # Errors
/// If a list is no function, or a very long one.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Function>, D::Error> {
    let lists = Vec::<Written>::deserialize(deserializer)?;
    Ok(lists.into_iter().map(|written| written.0).collect())
}

/// A function that is read token by token, no further than it may be long.
struct Written(Function);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tokens;

        impl<'de> Visitor<'de> for Tokens {
            type Value = Written;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of tokens")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut tokens: A) -> Result<Written, A::Error> {
                let mut list = Vec::new();
                while let Some(token) = tokens.next_element()? {
                    if list.len() == MAX_TOKENS {
                        return Err(A::Error::custom(format!("a function has more than {MAX_TOKENS} tokens")));
                    }
                    list.push(token);
                }
                function(list).map(Written).ok_or_else(|| A::Error::custom("a list of tokens is no function"))
            }
        }

        deserializer.deserialize_seq(Tokens)
    }
}

fn function(list: Vec<Token>) -> Option<Function> {
    if list.len() > MAX_TOKENS {
        return None;
    }
    let mut stack = Vec::new();
    for token in list {
        let next = match token {
            Token::X => Function::X,
            Token::Constant(value) => Function::Constant(value),
            Token::Unary(op) => Function::Unary(op, Box::new(stack.pop()?)),
            Token::Binary(op) => {
                let (b, a) = (stack.pop()?, stack.pop()?);
                Function::Binary(op, Box::new(a), Box::new(b))
            }
        };
        stack.push(next);
    }
    let found = stack.pop()?;
    stack.is_empty().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_survive_and_lists_that_are_none_do_not() {
        let f = Function::Binary(
            Binary::Sub,
            Box::new(Function::Constant(1.0)),
            Box::new(Function::unary(Unary::Sigmoid).compose(&Function::affine(2.0, -3.0))),
        );
        let mut list = Vec::new();
        tokens(&f, &mut list);
        assert_eq!(function(list), Some(f));
        assert_eq!(function(vec![Token::X, Token::X]), None);
        assert_eq!(function(vec![Token::X, Token::Binary(Binary::Add)]), None);
        let mut long = vec![Token::X];
        long.extend((0..MAX_TOKENS).map(|_| Token::Unary(Unary::Abs)));
        assert_eq!(function(long), None);
        assert!(!is_writable(&Function::affine(f64::INFINITY, 0.0)));
    }
}
