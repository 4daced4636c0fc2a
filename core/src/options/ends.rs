//! The options of what ends: how long what has expired is kept, and records that say themselves how long they live.

use std::time::Duration;

use super::Builder;
use crate::entry::Layout;

impl<L: Layout> Builder<L> {
    /// For this long after it expired, a record is kept at most: to be offered to the origin, and to be served stale, whatever the windows
    /// and calls say. After that it is as if it were not there. Nothing goes through the cache for it: the entry itself goes at the next call
    /// of its key, or where room is wanted. Default: until room is wanted.
    pub fn keep_expired(mut self, time: Duration) -> Self {
        self.options.keep_expired = Some(time);
        self
    }

    /// How long from now on a record may be served, by what it says itself; `None`: it says nothing. Its lifetime is cut to that, wherever it
    /// comes from and whenever the origin confirms it; zero: it is given to who waits for it, and not kept. After its own end it is not
    /// served stale either, whatever the windows and calls say. So a record with an end has no such windows at all, but where
    /// [`keep_expired`](Self::keep_expired) has it gone by then.
    ///
    /// Called with no lock held. Where it panics, the record is not kept. From then on the time is counted by the cache's clock.
    ///
    /// # Example
    /// ```
    /// # use std::time::{Duration, SystemTime};
    /// # use wtcache::{Cache, LoadCx, Loaded, Record, Source, SourceError, Typed};
    /// # struct Offers;
    /// # #[derive(Clone)]
    /// # struct Offer { until: SystemTime }
    /// # impl Source<Typed<String, Offer>> for Offers {
    /// #     fn get(&self, _: &String, _: &LoadCx<'_, Typed<String, Offer>>) -> Result<Loaded<Offer>, SourceError> {
    /// #         Ok(Loaded::Found(Record::new(Offer { until: SystemTime::now() + Duration::from_secs(60) })))
    /// #     }
    /// # }
    /// let cache = Cache::builder(Offers)
    ///     .lifetime(Duration::from_secs(300))
    ///     .own_end(|_, offer: &Offer| Some(offer.until.duration_since(SystemTime::now()).unwrap_or_default()))
    ///     .build()?;
    /// let offer = cache.get("bolts")?.expect("the source has all");
    /// assert!(offer.remaining(cache.now()) <= Duration::from_secs(60));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn own_end(mut self, end: impl Fn(&L::Key, &L::View) -> Option<Duration> + Send + Sync + 'static) -> Self {
        self.extras.own_end = Some(Box::new(end));
        self
    }
}
