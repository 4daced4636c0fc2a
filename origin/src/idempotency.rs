//! `Idempotency-Key`: a write that comes again is answered as it was, and not applied a second time.
//!
//! Owns: what was answered, by key. Never: decides an answer. Invariant: of two sends of a write, however close, one is applied at
//! most; what went wrong inside the origin is not remembered.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use crate::answer::Answer;
use crate::http::Head;
use crate::locked;

/// So many writes are remembered, the newest.
const KEPT: usize = 10_000;

#[derive(Default)]
pub(crate) struct Answered {
    /// Rank: before the records, for it is held while a write is applied.
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    answers: HashMap<String, Answer>,
    order: VecDeque<String>,
}

/// The request's key: what stands in the quotes, as the IETF's draft has it (a string of RFC 8941), or all of it where there are none.
pub(crate) fn key_of(head: &Head) -> Option<String> {
    let value = head.header("idempotency-key")?;
    let Some(quoted) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return Some(value) };
    let mut key = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        // What a backslash is before stands for itself.
        key.push(if character == '\\' { characters.next().unwrap_or(character) } else { character });
    }
    Some(key)
}

impl Answered {
    /// Carries the write out, unless it was before.
    pub(crate) fn once<E>(&self, head: &Head, write: impl FnOnce() -> Result<Answer, E>) -> Result<Answer, E> {
        let Some(key) = key_of(head) else { return write() };
        // A key is of one request: the same of another is another.
        let key = format!("{} {} {key}", head.method.name(), head.target);
        let mut kept = locked(&self.kept);
        if let Some(answer) = kept.answers.get(&key) {
            return Ok(answer.clone());
        }
        let answer = write()?;
        kept.answers.insert(key.clone(), answer.clone());
        kept.order.push_back(key);
        if kept.order.len() > KEPT
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.answers.remove(&oldest);
        }
        Ok(answer)
    }
}
