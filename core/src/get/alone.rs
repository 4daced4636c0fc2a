//! The short way of a miss that meets nobody: note, source and end in the caller's thread, with nothing made that nobody will ask for.
//!
//! It has no flight, and borrows the cache and its key. Whatever is not the plain end (somebody met it, the source failed, there is more to what it
//! brought) goes on as a [`Get`] whose load has just ended. Invariant: an `Alone` takes its note back, also when something unwinds.

use super::load::{Leading, give_up};
use super::{Get, How, LoadReply, OwnLoad, Read};
use crate::clock::Tick;
use crate::drive::block_on;
use crate::engine::Engine;
use crate::entry::{Entry, Layout, Lookup, SharedKey};
use crate::error::LoadError;
use crate::nesting::Nesting;
use crate::options::Call;
use crate::shard::LoneEnd;
use crate::source::Source;
use crate::store::Left;
use crate::sync::Arc;

/// Reads what was no hit, from this thread. `confirmed`: what is pending is not shown.
pub(crate) fn get_now<L: Layout, Q: Lookup<L> + ?Sized>(
    engine: &Arc<Engine<L>>,
    (hash, key): (u64, &Q),
    call: &Call,
    confirmed: bool,
) -> Result<Read<L>, LoadError> {
    let owned;
    let (lent, shared) = match key.as_key() {
        Some(lent) => (lent, None),
        None => {
            owned = Arc::new(key.to_key());
            (L::key(&owned), Some(&owned))
        }
    };
    let source = engine.source.blocking();
    let alone = source.and_then(|source| Some((source, Alone::begin(engine, (hash, lent), shared, call)?)));
    let ended = match alone {
        Some((source, alone)) => match alone.end(source) {
            Ok(read) => return Ok(read),
            Err(ended) => Some(ended),
        },
        None => None,
    };
    go_on(engine, hash, shared.map_or_else(|| Arc::new(key.to_key()), Arc::clone), call, confirmed, ended)
}

/// The same as a story, from its beginning or from the end of a load.
#[cold]
fn go_on<L: Layout>(
    engine: &Arc<Engine<L>>,
    hash: u64,
    key: SharedKey<L>,
    call: &Call,
    confirmed: bool,
    ended: Option<Ended<L>>,
) -> Result<Read<L>, LoadError> {
    let mut get = Get::new(engine, hash, key, call, confirmed);
    if let Some(Ended { deadline, reply }) = ended {
        (get.deadline, get.reply) = (deadline, Some(reply));
    }
    block_on(get, &*engine.clock, engine.source.runtime())
}

/// A load that was more than one for its own reader.
struct Ended<L: Layout> {
    deadline: Tick,
    reply: LoadReply<L>,
}

/// A load that nobody had met when it began.
struct Alone<'a, L: Layout> {
    own: OwnLoad<'a, L>,
    call: &'a Call,
    began: Tick,
    /// Of its note, until that is taken back.
    note: Option<u64>,
}

impl<'a, L: Layout> Alone<'a, L> {
    /// `None`: there is more to say or to do, and nothing was done.
    fn begin(
        engine: &'a Arc<Engine<L>>,
        (hash, key): (u64, &'a L::Key),
        shared: Option<&SharedKey<L>>,
        call: &'a Call,
    ) -> Option<Self> {
        let nested = Nesting::of(engine.frame(hash), call.scope.as_ref()).is_nested();
        if nested || engine.listener.is_some() || engine.too_long(key).is_some() {
            return None;
        }
        let began = engine.clock.now();
        let deadline = engine.deadline_of(call, began);
        if deadline <= began {
            return None;
        }
        let note = {
            let mut state = engine.shard(hash).write();
            if engine.is_closed() {
                return None;
            }
            state.load_alone((hash, key), shared, (began, deadline))?
        };
        Some(Self { own: OwnLoad { engine, hash, key, deadline }, call, began, note: Some(note) })
    }

    /// Calls the source, and ends it by the answer.
    fn end(mut self, source: &dyn Source<L>) -> Result<Read<L>, Ended<L>> {
        let asked = self.own.ask_now(source, self.began, self.call.scope.as_ref());
        let asked = asked.map(|asked| asked.kept_if(!self.call.wants.not_kept));
        let brought = asked.as_ref().ok().and_then(|asked| asked.brought());
        match (self.take_back(brought), asked) {
            (Some(LoneEnd::Met(flight)), asked) => {
                let leading =
                    Leading { engine: self.own.engine, hash: self.own.hash, key: self.own.key, flight: &flight };
                Err(Ended { deadline: self.own.deadline, reply: leading.ends(&self.own, false, asked) })
            }
            (Some(LoneEnd::Alone { kept }), Ok(asked)) => {
                Ok(Read::new(asked.stored.and_then(Entry::of), How::Loaded { kept }))
            }
            (_, Err(error)) => Err(Ended { deadline: self.own.deadline, reply: LoadReply::Done(Err(error)) }),
            (None, Ok(_)) => unreachable!("it is taken back here, once"),
        }
    }

    fn take_back(&mut self, brought: Option<(&L::Stored, bool)>) -> Option<LoneEnd<L>> {
        let OwnLoad { engine, hash, key, .. } = self.own;
        let note = self.note.take()?;
        let mut left = Left::default();
        let (end, _key) = engine.shard(hash).write().end_lone_load(engine, note, brought, &mut left);
        let kept = matches!(end, LoneEnd::Alone { kept: true });
        engine.finish_alone(key, left, brought.filter(|_| kept).map(|(stored, _)| stored));
        Some(end)
    }
}

impl<L: Layout> Drop for Alone<'_, L> {
    fn drop(&mut self) {
        if let Some(LoneEnd::Met(flight)) = self.take_back(None) {
            give_up(self.own.engine, self.own.hash, self.own.key, &flight);
        }
    }
}
