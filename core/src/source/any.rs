//! A source of either kind, called alike: a blocking one has answered when it returns, an async one is awaited.
//!
//! What is the source's own fault ends here: its panic, and its silence past the deadline, become an error of the load or an outcome of
//! the write. Invariant: no future of an async source is polled after its deadline, or lives on after its call.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[cfg(feature = "tokio")]
use super::{Awaited, ErasedSource};
use super::{
    Confirmed, CreateCx, Declared, Failure, LoadCx, LoadMany, Loaded, Made, Outcome, Source, SourceError, WriteCx,
};
use crate::entry::Layout;
use crate::error::LoadError;
use crate::sync::Arc;
use crate::sync::task::Runtime;

pub(crate) enum AnySource<L: Layout> {
    Blocking(Arc<dyn Source<L>>),
    /// Its futures are polled on the runtime, by tasks of it or by threads that wait for them.
    #[cfg(feature = "tokio")]
    Async(Arc<dyn ErasedSource<L>>, Runtime),
}

impl<L: Layout> AnySource<L> {
    pub(crate) fn declared(&self) -> Declared {
        match self {
            Self::Blocking(source) => source.declared(),
            #[cfg(feature = "tokio")]
            Self::Async(source, _) => source.declared(),
        }
    }

    /// The source, if it is a blocking one.
    pub(crate) fn blocking(&self) -> Option<&dyn Source<L>> {
        match self {
            Self::Blocking(source) => Some(&**source),
            #[cfg(feature = "tokio")]
            Self::Async(..) => None,
        }
    }

    /// Where its calls have to be awaited. `None`: they never wait, but for their thread.
    pub(crate) fn runtime(&self) -> Option<&Runtime> {
        match self {
            Self::Blocking(_) => None,
            #[cfg(feature = "tokio")]
            Self::Async(_, runtime) => Some(runtime),
        }
    }

    pub(crate) fn load_many(&self) -> Option<&dyn LoadMany<L>> {
        match self {
            Self::Blocking(source) => source.load_many(),
            #[cfg(feature = "tokio")]
            Self::Async(..) => None,
        }
    }

    pub(crate) async fn get(&self, key: &L::Key, cx: &LoadCx<'_, L>) -> Result<Loaded<L::Value>, LoadError> {
        match self {
            Self::Blocking(source) => load_now(&**source, key, cx),
            #[cfg(feature = "tokio")]
            Self::Async(source, _) => loaded(Awaited::new(source.get(key, cx), cx.clock, cx.deadline).await),
        }
    }

    pub(crate) async fn put(&self, key: &L::Key, value: &L::View, cx: &WriteCx<'_, L>) -> Outcome<Confirmed<L::Value>> {
        let answer = match self {
            Self::Blocking(source) => caught(|| source.put(key, value, cx)),
            #[cfg(feature = "tokio")]
            Self::Async(source, _) => Awaited::new(source.put(key, value, cx), cx.clock, cx.deadline).await,
        };
        answer.unwrap_or_else(|why| Outcome::Unknown(why.cause()))
    }

    pub(crate) async fn create(&self, value: &L::View, cx: &CreateCx<'_>) -> Outcome<Made<L>> {
        let answer = match self {
            Self::Blocking(source) => caught(|| source.create(value, cx)),
            #[cfg(feature = "tokio")]
            Self::Async(source, _) => Awaited::new(source.create(value, cx), cx.clock, cx.deadline).await,
        };
        answer.unwrap_or_else(|why| Outcome::Unknown(why.cause()))
    }

    pub(crate) async fn delete(&self, key: &L::Key, cx: &WriteCx<'_, L>) -> Outcome<()> {
        let answer = match self {
            Self::Blocking(source) => caught(|| source.delete(key, cx)),
            #[cfg(feature = "tokio")]
            Self::Async(source, _) => Awaited::new(source.delete(key, cx), cx.clock, cx.deadline).await,
        };
        answer.unwrap_or_else(|why| Outcome::Unknown(why.cause()))
    }
}

/// [`AnySource::get`] of a blocking source, in this thread.
pub(crate) fn load_now<L: Layout>(
    source: &dyn Source<L>,
    key: &L::Key,
    cx: &LoadCx<'_, L>,
) -> Result<Loaded<L::Value>, LoadError> {
    loaded(caught(|| source.get(key, cx)))
}

fn loaded<V>(answer: Result<Result<Loaded<V>, SourceError>, NoAnswer>) -> Result<Loaded<V>, LoadError> {
    match answer {
        Ok(answer) => answer.map_err(LoadError::Source),
        Err(NoAnswer::Panicked(message)) => Err(LoadError::Panicked(message)),
        #[cfg(feature = "tokio")]
        Err(NoAnswer::Late) => Err(LoadError::Deadline),
    }
}

/// Why a call of a source has no answer.
pub(crate) enum NoAnswer {
    Panicked(String),
    /// Its future was pending at the deadline.
    #[cfg(feature = "tokio")]
    Late,
}

impl NoAnswer {
    /// The cause of a doubt.
    pub(crate) fn cause(self) -> SourceError {
        match self {
            Self::Panicked(message) => SourceError::new(Failure::Failed, format!("the source panicked: {message}")),
            #[cfg(feature = "tokio")]
            Self::Late => SourceError::new(Failure::TimedOut, "the source had no answer by the deadline"),
        }
    }
}

/// Runs code of the source's.
#[inline]
pub(crate) fn caught<T>(code: impl FnOnce() -> T) -> Result<T, NoAnswer> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|panic| NoAnswer::Panicked(panic_message(&*panic)))
}

/// The words of a panic.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
