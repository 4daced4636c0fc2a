//! Is the history of one key linearizable so far? Told event by event.
//!
//! Kept are not the events but every order in which they can have taken effect (after Wing and Gong 1993, and Lowe's
//! just-in-time linearization, 2017): an operation is put in its place no earlier than some answer asks for it. Two histories
//! with the same open operations and the same possible orders have the same future, so a model that carries this in its state
//! joins them. A write whose outcome nobody knows is begun and never ends: it may take effect at any later time, or never.

/// A value of the register, below 16.
pub type Value = u8;

/// Writes and reads that can be open at once.
const MOST_WRITES: usize = 12;
const MOST_READERS: usize = 6;

/// A history of one register.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Register {
    writes: [Option<Write>; MOST_WRITES],
    /// A bit for each reader that has begun to read.
    reading: u8,
    /// Every order that is possible, sorted.
    orders: Vec<Order>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Write {
    value: Value,
    /// The bits of the register that it sets.
    mask: Value,
    /// It takes effect on these values only: a bit for each.
    expects: u16,
}

/// How far one possible order has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Order {
    value: Value,
    /// A bit for each open write that has taken effect.
    done: u16,
    /// What each open read may have seen: a bit for each value.
    seen: [u16; MOST_READERS],
}

impl Register {
    /// A register that holds `value`.
    #[must_use]
    pub fn new(value: Value) -> Self {
        let order = Order { value, done: 0, seen: [0; MOST_READERS] };
        Self { writes: [None; MOST_WRITES], reading: 0, orders: vec![order] }
    }

    /// Some order explains everything that was told.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.orders.is_empty()
    }

    /// A write named `write` begins. With `expects`, it takes effect on that value only.
    pub fn write_begins(&mut self, write: usize, value: Value, expects: Option<Value>) {
        let expects = expects.map_or(u16::MAX, |value| 1 << value);
        self.begins(write, Write { value, mask: Value::MAX, expects });
    }

    /// A write named `write` begins that takes effect on any value but this one.
    pub fn write_begins_unless(&mut self, write: usize, value: Value, unless: Value) {
        self.begins(write, Write { value, mask: Value::MAX, expects: !(1 << unless) });
    }

    /// A write begins that sets only the bits of `mask`.
    pub fn part_begins(&mut self, write: usize, mask: Value, value: Value) {
        self.begins(write, Write { value, mask, expects: u16::MAX });
    }

    fn begins(&mut self, number: usize, write: Write) {
        debug_assert!(self.writes[number].is_none(), "a write begins once");
        self.writes[number] = Some(write);
    }

    /// The write has taken effect.
    pub fn write_applied(&mut self, write: usize) {
        let bit = 1 << write;
        self.until(|order| order.done & bit != 0);
        self.writes[write] = None;
        self.each(|order| order.done &= !bit);
    }

    /// The write has not taken effect, and never will.
    pub fn write_rejected(&mut self, write: usize) {
        let bit = 1 << write;
        self.orders.retain(|order| order.done & bit == 0);
        self.writes[write] = None;
    }

    /// A reader begins to read.
    pub fn read_begins(&mut self, reader: usize) {
        self.reading |= 1 << reader;
        self.each(|order| order.seen[reader] = 1 << order.value);
    }

    /// The reader was given `value`.
    pub fn read_ends(&mut self, reader: usize, value: Value) {
        self.until(|order| order.seen[reader] & (1 << value) != 0);
        self.read_fails(reader);
    }

    /// The reader was given no value, or nothing is asked of it.
    pub fn read_fails(&mut self, reader: usize) {
        self.reading &= !(1 << reader);
        self.each(|order| order.seen[reader] = 0);
    }

    /// Takes every order on to where `wanted` holds, by open writes that have not taken effect yet.
    fn until(&mut self, wanted: impl Fn(&Order) -> bool) {
        let mut reached = Vec::with_capacity(self.orders.len());
        let mut ahead = std::mem::take(&mut self.orders);
        while let Some(order) = ahead.pop() {
            if wanted(&order) {
                reached.push(order);
                continue;
            }
            for (number, write) in self.writes.iter().enumerate() {
                let Some(write) = write else { continue };
                if order.done & (1 << number) == 0 && write.expects & (1 << order.value) != 0 {
                    let value = order.value & !write.mask | write.value & write.mask;
                    let mut later = Order { value, done: order.done | 1 << number, ..order };
                    for (reader, seen) in later.seen.iter_mut().enumerate() {
                        if self.reading & (1 << reader) != 0 {
                            *seen |= 1 << value;
                        }
                    }
                    ahead.push(later);
                }
            }
        }
        self.orders = reached;
        self.tidy();
    }

    fn each(&mut self, change: impl Fn(&mut Order)) {
        self.orders.iter_mut().for_each(change);
        self.tidy();
    }

    /// Sorted, each once, and none that allows only what another allows too.
    fn tidy(&mut self) {
        if self.orders.len() < 2 {
            return;
        }
        self.orders.sort_unstable();
        self.orders.dedup();
        let all = self.orders.clone();
        self.orders.retain(|order| !all.iter().any(|other| other != order && other.allows(order)));
    }
}

impl Order {
    /// Whatever the other order explains later, this one does too.
    fn allows(&self, other: &Self) -> bool {
        let more = self.seen.iter().zip(other.seen).all(|(mine, its)| mine & its == its);
        self.value == other.value && self.done == other.done && more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_during_a_write_may_see_either_value_and_then_no_older_one() {
        let mut history = Register::new(0);
        history.write_begins(0, 1, None);
        for (value, holds) in [(0, true), (1, true), (0, false)] {
            history.read_begins(0);
            history.read_ends(0, value);
            assert_eq!(history.holds(), holds);
        }
    }

    #[test]
    fn a_read_that_began_before_may_see_what_was() {
        let mut history = Register::new(0);
        history.read_begins(1);
        history.write_begins(0, 1, None);
        history.write_applied(0);
        let mut late = history.clone();
        late.read_ends(1, 0);
        assert!(late.holds());
        history.read_begins(0);
        history.read_ends(0, 0);
        assert!(!history.holds());
    }

    #[test]
    fn an_unknown_write_takes_effect_at_any_later_time_or_never() {
        let mut history = Register::new(0);
        history.write_begins(0, 1, None);
        history.write_begins(1, 2, None);
        history.write_applied(1);
        for value in [2, 1] {
            history.read_begins(0);
            history.read_ends(0, value);
            assert!(history.holds());
        }
        history.read_begins(0);
        history.read_ends(0, 2);
        assert!(!history.holds());
    }

    #[test]
    fn a_rejected_write_was_never_seen() {
        let mut history = Register::new(0);
        history.write_begins(0, 1, None);
        history.read_begins(0);
        history.read_ends(0, 1);
        history.write_rejected(0);
        assert!(!history.holds());
    }

    #[test]
    fn a_write_that_expects_another_value_takes_effect_on_any_but_that() {
        for (first, holds) in [(1, true), (0, false)] {
            let mut history = Register::new(first);
            history.write_begins_unless(0, 2, 0);
            history.write_applied(0);
            assert_eq!(history.holds(), holds);
        }
    }

    #[test]
    fn a_conditional_write_takes_effect_on_its_value_only() {
        let mut history = Register::new(0);
        history.write_begins(0, 1, Some(0));
        history.write_begins(1, 2, Some(0));
        history.write_applied(0);
        assert!(history.holds());
        history.write_applied(1);
        assert!(!history.holds());
    }
}
