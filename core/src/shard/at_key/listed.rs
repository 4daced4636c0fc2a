//! What the origin told of the key in a list.

use super::AtKey;
use crate::entry::Layout;
use crate::entry::sealed::Stored;
use crate::listener::EventKind;
use crate::moves::Watching;
use crate::slot::Slot;
use crate::tags::Running;

impl<L: Layout> AtKey<'_, L> {
    /// Makes what a list told the key's record, unless something may be newer: what is here goes then, since a reader is given the list's all
    /// the same. Says whether `stored` is resident now.
    pub(crate) fn listed(&mut self, stored: &L::Stored, keep: bool, watching: &Watching<'_>, running: Running) -> bool {
        let told = self.engine.tags.is_against::<L>(running, stored);
        // A write is out or in doubt, or the record may show a part of what a transaction shows together.
        let busy = self.cell().is_some_and(|cell| !cell.slot.takes_pushed() || cell.in_transaction);
        if told || busy || watching.is_overtaken(self.hash) {
            self.returned_unretained();
            return false;
        }
        let held = self.listened_and_held();
        // A load under way may bring what was before.
        self.change(Slot::pushed);
        let kept = self.take(stored, keep);
        if kept {
            self.note(EventKind::Retained { absent: stored.is_absent() });
        } else if held {
            self.note(EventKind::Dropped);
        }
        kept
    }
}
