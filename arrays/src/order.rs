//! The order of arrays that have names: numbers in them count as numbers, so that `arr_2` comes before `arr_10`.

use std::cmp::Ordering;
use std::path::{Component, Path};

/// Compares two names piece by piece: digits by the number they write, everything else byte by byte.
///
/// Names that write the same numbers (`a1`, `a01`) are told apart by their bytes, so that the order is total.
pub fn natural(one: &str, other: &str) -> Ordering {
    let (mut left, mut right) = (one.as_bytes(), other.as_bytes());
    loop {
        let (Some(&a), Some(&b)) = (left.first(), right.first()) else {
            return left.len().cmp(&right.len()).then_with(|| one.cmp(other));
        };
        let order = if a.is_ascii_digit() && b.is_ascii_digit() {
            let ((a, after_a), (b, after_b)) = (number(left), number(right));
            (left, right) = (after_a, after_b);
            a.len().cmp(&b.len()).then_with(|| a.cmp(b))
        } else {
            (left, right) = (&left[1..], &right[1..]);
            a.cmp(&b)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// The digits at the start, without leading zeros, and what comes behind them.
fn number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let zeros = digits.iter().position(|&digit| digit != b'0').unwrap_or(digits.len());
    (&digits[zeros..], rest)
}

/// Sorts names that carry numbers; others keep the order they came in.
pub fn sort_numbered<T>(items: &mut [T], name: impl Fn(&T) -> &str) {
    if items.iter().any(|item| name(item).bytes().any(|byte| byte.is_ascii_digit())) {
        items.sort_by(|one, other| natural(name(one), name(other)));
    }
}

/// Whether names differ in their numbers only, as those of one series do (`arr_0`, `arr_1`).
pub fn is_series<'a>(names: impl IntoIterator<Item = &'a str>) -> bool {
    let letters = |name: &str| {
        let mut text = String::new();
        for letter in name.chars() {
            match letter {
                '0'..='9' if text.ends_with('0') => {}
                '0'..='9' => text.push('0'),
                other => text.push(other),
            }
        }
        text
    };
    let mut names = names.into_iter().map(letters);
    let first = names.next();
    names.all(|name| Some(&name) == first.as_ref())
}

/// Whether a name in an archive or a folder is one of those that systems leave behind: `__MACOSX/`, and names that
/// begin with a dot.
pub fn is_hidden(name: &str) -> bool {
    Path::new(name).components().any(|part| match part {
        Component::Normal(part) => part == "__MACOSX" || part.as_encoded_bytes().starts_with(b"."),
        _ => false,
    })
}

/// Whether a name ends in `.npy`, in any case.
pub fn is_npy(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(names: &[&'static str]) -> Vec<&'static str> {
        let mut names = names.to_vec();
        sort_numbered(&mut names, |name| name);
        names
    }

    #[test]
    fn numbers_count_as_numbers() {
        assert_eq!(sorted(&["arr_10", "arr_2", "arr_0"]), ["arr_0", "arr_2", "arr_10"]);
        assert_eq!(sorted(&["b/1", "a/10", "a/9"]), ["a/9", "a/10", "b/1"]);
        assert_eq!(sorted(&["9", "18446744073709551617", "18446744073709551616"])[2], "18446744073709551617");
    }

    #[test]
    fn leading_zeros_do_not_count_but_are_told_apart() {
        assert_eq!(sorted(&["a010", "a9", "a1", "a01"]), ["a01", "a1", "a9", "a010"]);
        assert_eq!(natural("a0", "a00"), Ordering::Less);
        assert_eq!(natural("a1", "a1"), Ordering::Equal);
    }

    #[test]
    fn names_without_numbers_keep_their_order() {
        assert_eq!(sorted(&["zebra", "ape"]), ["zebra", "ape"]);
    }

    #[test]
    fn a_series_differs_in_its_numbers_only() {
        assert!(is_series(["arr_0", "arr_1", "arr_10"]) && is_series(["x"]));
        assert!(!is_series(["x", "y"]) && !is_series(["x1", "y2"]));
    }

    #[test]
    fn what_systems_leave_behind_is_hidden() {
        assert!(is_hidden("__MACOSX/calib/._0.npy") && is_hidden("calib/._0.npy") && is_hidden(".DS_Store"));
        assert!(!is_hidden("calib/0.npy") && !is_hidden("./calib/0.npy"));
        assert!(is_npy("a/B.NPY") && !is_npy("npy"));
    }
}
