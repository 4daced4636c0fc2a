//! What the origin pushed, held against what is known of the key.

use std::cmp::Ordering;

use super::{AtKey, PushStanding};
use crate::bugs::{self, Bug};
use crate::entry::Layout;
use crate::entry::sealed::Stored;
use crate::listener::EventKind;
use crate::pushed::{PushEnd, VersionOrder};
use crate::slot::Slot;
use crate::tags::Running;

impl<L: Layout> AtKey<'_, L> {
    /// How a push of this version stands; one of which nothing can be told has invalidated the key. `is_content`: it says what the
    /// record is now.
    pub(crate) fn pushed(&mut self, version: Option<&[u8]>, is_content: bool) -> PushStanding {
        let mut standing = self.push_stands(version);
        if matches!(standing, PushStanding::News { .. }) && !is_content {
            standing = PushStanding::Unsure;
        }
        if matches!(standing, PushStanding::Unsure) {
            self.forgets_for_push(version);
        }
        standing
    }

    /// Makes what was pushed the key's record, if it is still news. What was invalidated by a tag meanwhile counts as invalidated now.
    pub(crate) fn take_pushed(
        &mut self,
        version: Option<&[u8]>,
        (stored, keep): (&L::Stored, bool),
        running: Running,
    ) -> PushEnd {
        match self.push_stands(version) {
            PushStanding::Old => return PushEnd::PassedOver,
            PushStanding::News { .. } if !self.engine.tags.is_against::<L>(running, stored) => {}
            PushStanding::News { .. } | PushStanding::Unsure => {
                self.forgets_for_push(version);
                return PushEnd::Invalidated;
            }
        }
        self.change(Slot::pushed);
        if self.take(stored, keep) {
            self.note(EventKind::Pushed { absent: stored.is_absent() });
            PushEnd::Taken
        } else {
            self.note(EventKind::Invalidated);
            PushEnd::Invalidated
        }
    }

    /// Forgets the key for a push. A write that is out is shown nevertheless where its version turns out to be as new: it may be
    /// what the origin tells of.
    fn forgets_for_push(&mut self, version: Option<&[u8]>) {
        let order = self.engine.declared.version_order;
        if order != VersionOrder::None
            && let Some(version) = version
            && let Some(cell) = self.cell()
            && cell.is_sent()
            && !cell.is_in_doubt()
            && !cell.in_transaction
            && cell.pushed.as_deref().is_none_or(|before| order.compare(version, before).is_some())
        {
            if cell.pushed.as_deref().is_none_or(|before| order.compare(version, before) == Some(Ordering::Greater)) {
                cell.pushed = Some(version.into());
            }
            self.change(Slot::returned_unretained);
            self.forget();
            self.note(EventKind::Invalidated);
        } else {
            self.invalidate();
        }
    }

    /// What was pushed since the write was sent is not known to be as old as what the origin confirmed of it.
    pub(super) fn is_behind_push(&mut self, confirmed: Option<&L::Stored>) -> bool {
        let order = self.engine.declared.version_order;
        let Some(pushed) = self.cell().and_then(|cell| cell.pushed.take()) else { return false };
        let version = confirmed.and_then(|stored| stored.version());
        let compared = version.and_then(|version| order.compare(version, &pushed));
        !matches!(compared, Some(Ordering::Equal | Ordering::Greater)) && !bugs::has(Bug::PushLeavesWriteClean)
    }

    fn push_stands(&mut self, version: Option<&[u8]>) -> PushStanding {
        let order = self.engine.declared.version_order;
        // What is held may be newer than a write that is out, which takes its place when it ends.
        if self.cell().is_some_and(|cell| !cell.slot.takes_pushed() || cell.in_transaction) {
            return PushStanding::Unsure;
        }
        let Some((compared, confirmed)) = self.resident().and_then(|held| {
            let compared = order.compare(version?, held.version()?)?;
            Some((compared, held.header().since()))
        }) else {
            return PushStanding::Unsure;
        };
        if compared != Ordering::Greater && !bugs::has(Bug::OlderPushIsTaken) {
            return PushStanding::Old;
        }
        PushStanding::News { confirmed }
    }
}
