//! The life of a cache as a whole: how long its calls may take, when its writes have come to rest, and its end.

use std::time::Duration;

use super::CacheOf;
use crate::entry::Layout;
use crate::error::OptionError;
use crate::invalidate::{self, CloseReport};
use crate::options::check_deadlines;

impl<L: Layout> CacheOf<L> {
    /// Ends the cache: no call begins any more, those who wait are told [`LoadError::Closed`](crate::LoadError::Closed) or [`NotSent::Closed`](crate::NotSent::Closed), and
    /// writes that were sent get up to `timeout` to end. Values that were handed out stay valid.
    pub fn close(&self, timeout: Duration) -> CloseReport<L::OwnedKey> {
        invalidate::close(&self.0, timeout)
    }

    /// Calls that begin from now on may take `deadline`, and pending writes `pending`, where they say nothing else: as by
    /// [`Builder::deadline`](crate::Builder::deadline) and [`Optimistic::deadline`](crate::Optimistic::deadline), which this takes the place of.
    ///
    /// # Errors
    /// One is zero, or more than a day; the error names it, and nothing has changed.
    ///
    /// # Example
    /// ```
    /// # use std::time::Duration;
    /// # use wtcache::{ByteCache, Bytes, LoadCx, Loaded, Record, Source, SourceError};
    /// # struct Origin;
    /// # impl Source<Bytes> for Origin {
    /// #     fn get(&self, _: &[u8], _: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
    /// #         Ok(Loaded::Found(Record::new(Vec::new())))
    /// #     }
    /// # }
    /// let cache = ByteCache::builder(Origin).build()?;
    /// let second = Duration::from_secs(1);
    /// cache.set_deadlines(second, 10 * second)?;
    /// assert!(cache.set_deadlines(second, Duration::ZERO).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_deadlines(&self, deadline: Duration, pending: Duration) -> Result<(), OptionError> {
        check_deadlines(deadline, Some(pending))?;
        self.0.set_deadlines(deadline, pending);
        Ok(())
    }

    /// Waits until no write is out or pending, `timeout` at most: each that was sent has its outcome, or is in doubt. Whether that is so. Calls go
    /// on as before; who calls this sees to it that none writes meanwhile, or it says little.
    ///
    /// # Example
    /// ```
    /// # use std::time::Duration;
    /// # use wtcache::{ByteCache, Bytes, LoadCx, Loaded, Record, Source, SourceError};
    /// # struct Origin;
    /// # impl Source<Bytes> for Origin {
    /// #     fn get(&self, _: &[u8], _: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
    /// #         Ok(Loaded::Found(Record::new(Vec::new())))
    /// #     }
    /// # }
    /// let cache = ByteCache::builder(Origin).build()?;
    /// assert!(cache.drain(Duration::from_secs(1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain(&self, timeout: Duration) -> bool {
        invalidate::drain(&self.0, timeout)
    }

    /// Somebody has called [`close`](Self::close): every call that begins now is told so.
    ///
    /// # Example
    /// ```
    /// # use std::time::Duration;
    /// # use wtcache::{ByteCache, Bytes, LoadCx, Loaded, Record, Source, SourceError};
    /// # struct Origin;
    /// # impl Source<Bytes> for Origin {
    /// #     fn get(&self, _: &[u8], _: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
    /// #         Ok(Loaded::Found(Record::new(Vec::new())))
    /// #     }
    /// # }
    /// let cache = ByteCache::builder(Origin).build()?;
    /// assert!(!cache.is_closed());
    /// cache.close(Duration::ZERO);
    /// assert!(cache.is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}
