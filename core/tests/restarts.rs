//! Chapter 10 of the contract: what a process may believe right after its start.

use wtcache::{Cache, Call, LoadCx, Loaded, Record, Source, SourceError, Typed};

/// An origin that has one record.
struct Seven;

impl Source<Typed<String, u32>> for Seven {
    fn get(&self, _: &String, _: &LoadCx<'_, Typed<String, u32>>) -> Result<Loaded<u32>, SourceError> {
        Ok(Loaded::Found(Record::new(7)))
    }
}

/// The record after a write of 8, during which a reader was given 7.
fn after_a_load_during_a_write(clean_start: bool) -> Option<u32> {
    let cache = Cache::builder(Seven).clean_start(clean_start).build().expect("options are valid");
    let sent = cache.prepare("bolts", &Call::new()).expect("the turn is free").send().expect("in time");
    assert!(cache.get("bolts").is_ok());
    sent.commit(Some(Record::new(8)));
    cache.peek("bolts").map(|entry| *entry.value())
}

#[test]
fn c0_a_load_given_out_during_a_write_may_be_newer_than_it() {
    assert_eq!(after_a_load_during_a_write(false), None);
    assert_eq!(after_a_load_during_a_write(true), Some(8));
}
