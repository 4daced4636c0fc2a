//! The values between which an ordered index is asked, for conditions that are no equality.
//!
//! Invariant: every value for which the conditions hold lies between these, and so does each value of a list for which one of them holds.

use std::ops::Bound::{self, Excluded, Included, Unbounded};

use super::filter::{Condition, Operator};
use crate::record::NULL;
use crate::schema::Scalar;

/// Where to look, from a bound to another.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: Bound<Vec<u8>>,
    pub(super) to: Bound<Vec<u8>>,
}

impl Range {
    /// Of a condition on an indexed attribute; `None`: its values lie anywhere.
    pub(super) fn of(condition: &Condition<'_>) -> Option<Self> {
        if !condition.attribute.indexed {
            return None;
        }
        let operand = || condition.operand.clone();
        // Null comes after each text; among numbers, it is passed over where the condition is looked at.
        let is_text = matches!(condition.attribute.scalar, Scalar::Id | Scalar::String);
        let end = if is_text { Excluded(NULL.to_vec()) } else { Unbounded };
        let (from, to) = match condition.operator {
            Operator::Less => (Unbounded, Excluded(operand())),
            Operator::AtMost => (Unbounded, Included(operand())),
            Operator::More => (Excluded(operand()), end),
            Operator::AtLeast => (Included(operand()), end),
            Operator::Begins => (Included(operand()), after(&condition.operand)),
            Operator::Equal | Operator::NotEqual | Operator::Contains | Operator::Ends => return None,
        };
        Some(Self { from, to })
    }

    /// What lies within both.
    pub(super) fn within(self, other: Self) -> Self {
        let from = if begins_later(&other.from, &self.from) { other.from } else { self.from };
        let to = if ends_earlier(&other.to, &self.to) { other.to } else { self.to };
        Self { from, to }
    }
}

fn begins_later(one: &Bound<Vec<u8>>, other: &Bound<Vec<u8>>) -> bool {
    match (one, other) {
        (Unbounded, _) => false,
        (_, Unbounded) => true,
        (Excluded(one), Included(other)) => one >= other,
        (Included(one) | Excluded(one), Included(other) | Excluded(other)) => one > other,
    }
}

fn ends_earlier(one: &Bound<Vec<u8>>, other: &Bound<Vec<u8>>) -> bool {
    match (one, other) {
        (Unbounded, _) => false,
        (_, Unbounded) => true,
        (Excluded(one), Included(other)) => one <= other,
        (Included(one) | Excluded(one), Included(other) | Excluded(other)) => one < other,
    }
}

/// Before what comes after all that begin so.
fn after(start: &[u8]) -> Bound<Vec<u8>> {
    let mut end = start.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Excluded(end);
        }
    }
    Excluded(NULL.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: Bound<&str>, to: Bound<&str>) -> Range {
        let owned = |text: &str| text.as_bytes().to_vec();
        Range { from: from.map(owned), to: to.map(owned) }
    }

    #[test]
    fn what_lies_within_both_begins_with_the_later_and_ends_with_the_earlier() {
        let all = range(Unbounded, Unbounded);
        for (one, other, both) in [
            (range(Included("b"), Unbounded), range(Unbounded, Included("d")), range(Included("b"), Included("d"))),
            (range(Included("b"), Unbounded), range(Excluded("b"), Unbounded), range(Excluded("b"), Unbounded)),
            (range(Unbounded, Included("b")), range(Unbounded, Excluded("b")), range(Unbounded, Excluded("b"))),
            (
                range(Included("a"), Included("c")),
                range(Included("b"), Included("d")),
                range(Included("b"), Included("c")),
            ),
        ] {
            let again = |range: &Range| Range { from: range.from.clone(), to: range.to.clone() };
            assert_eq!(again(&one).within(again(&other)), both);
            assert_eq!(other.within(one), both);
            assert_eq!(again(&both).within(again(&all)), both);
        }
    }

    #[test]
    fn what_begins_so_ends_before_the_next() {
        assert_eq!(after(b"ab"), Excluded(b"ac".to_vec()));
        assert_eq!(after(b"a\xff"), Excluded(b"b".to_vec()));
        assert_eq!(after(b""), Excluded(NULL.to_vec()));
    }
}
