//! An organisation changes its plan: its record goes to the database, and the payment to another service. What the cache shows when
//! the payment is refused, and when nobody knows what became of it.
//!
//! `cargo run -p wtcache --example organisation`

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wtcache::{
    ByteCache, Bytes, CacheUpdate, Confirmed, Failure, LoadCx, Loaded, Outcome, Record, Rejection, Settlement, Source,
    SourceError, Step, StepDone, Transacted, WriteCx, WriteThrough, write_through_cache,
};

/// The organisations' records.
#[derive(Clone, Default)]
struct Database(Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>);

impl Database {
    fn set(&self, key: &[u8], value: &[u8]) {
        self.0.lock().expect("never poisoned").insert(key.to_vec(), value.to_vec());
    }
}

impl Source<Bytes> for Database {
    fn get(&self, key: &[u8], _: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
        let found = self.0.lock().expect("never poisoned").get(key).cloned();
        Ok(found.map_or(Loaded::Absent, |value| Loaded::Found(Record::new(value))))
    }

    fn put(&self, key: &[u8], value: &[u8], _: &WriteCx<'_, Bytes>) -> Outcome<Confirmed<Vec<u8>>> {
        self.set(key, value);
        Outcome::Applied(Confirmed::Record(Record::new(value.to_vec())))
    }
}

/// What the payment service may answer.
#[derive(Clone, Copy)]
enum Bank {
    Pays,
    Refuses,
    DoesNotAnswer,
}

impl Bank {
    fn pay(self) -> Outcome<()> {
        match self {
            Self::Pays => Outcome::Applied(()),
            Self::Refuses => Outcome::Rejected(Rejection::new(SourceError::new(Failure::Refused, "no funds"))),
            Self::DoesNotAnswer => Outcome::Unknown(SourceError::new(Failure::Broken, "the connection broke")),
        }
    }
}

fn shown(cache: &ByteCache) -> String {
    let entry = cache.get("org:123").expect("the database answers").expect("it has the organisation");
    let pending = if entry.pending_since().is_some() { " (pending)" } else { "" };
    format!("{}{pending}", String::from_utf8_lossy(entry.value()))
}

/// The plan changes at once for whoever looks, and stays so only if the payment goes through.
fn change_plan(cache: &ByteCache, plan: &str, bank: Bank) -> Result<Transacted<Bytes>, Box<dyn Error>> {
    let before = cache.get_confirmed("org:123")?.ok_or("no such organisation")?.value().to_vec();
    let pending = cache
        .transaction()
        .step(Step::put("org:123", plan.as_bytes().to_vec()).undo_put("org:123", before))
        .step(Step::call(move |_| bank.pay().map(|()| StepDone::new())))
        .invalidate_pattern("org:123:*")?
        .start()?;
    Ok(pending.wait())
}

/// The same in one call, shown when all is done.
fn rename(cache: &ByteCache, database: &Database, name: &str, bank: Bank) -> Result<Transacted<Bytes>, Box<dyn Error>> {
    let update =
        CacheUpdate { key: "org:123".to_owned(), data: name.as_bytes().to_vec(), ttl: Some(Duration::from_secs(600)) };
    let (database, new) = (database.clone(), name.as_bytes().to_vec());
    let mut write = WriteThrough::new([update], move |_| {
        database.set(b"org:123", &new);
        Outcome::Applied(())
    });
    write.external_operation = Some(Box::new(move |_| bank.pay()));
    write.invalidate_patterns = vec!["org:123:*".to_owned(), "user:*:orgs".to_owned()];
    Ok(write_through_cache(cache, write)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let database = Database::default();
    database.set(b"org:123", b"free");
    database.set(b"org:123:members", b"ann, bob");
    let cache = ByteCache::builder(database.clone()).build()?;
    cache.get("org:123:members")?;
    println!("at first: {}", shown(&cache));

    let paid = change_plan(&cache, "team", Bank::Pays)?;
    println!("paid: {} ({})", shown(&cache), name_of(&paid));
    assert!(paid.is_committed() && shown(&cache) == "team");
    assert!(cache.peek("org:123:members").is_none(), "forgotten with it");

    // The database had the new plan by then. It was put back, and that is what is shown: not a copy that the cache had kept.
    let refused = change_plan(&cache, "enterprise", Bank::Refuses)?;
    println!("refused: {} ({})", shown(&cache), name_of(&refused));
    assert!(matches!(refused, Transacted::RolledBack(_)) && shown(&cache) == "team");

    // Nobody knows whether it was paid: nothing is put back, and the cache asks the database.
    let unknown = change_plan(&cache, "enterprise", Bank::DoesNotAnswer)?;
    println!("no answer: {} ({})", shown(&cache), name_of(&unknown));
    assert!(matches!(unknown, Transacted::InDoubt { .. }) && shown(&cache) == "enterprise");

    // In one call. Without a way back, what the database has stays there, and the cache does not pretend otherwise.
    let refused = rename(&cache, &database, "Acme", Bank::Refuses)?;
    println!("one call, refused: {} ({})", shown(&cache), name_of(&refused));
    assert!(matches!(refused, Transacted::Partial(_)) && shown(&cache) == "Acme");

    // A write of the database of which nothing is known leaves a doubt: reads ask until it is settled.
    let update = CacheUpdate { key: "org:123".to_owned(), data: b"Acme Ltd".to_vec(), ttl: None };
    let lost = |_: &wtcache::StepCx<'_>| Outcome::Unknown(SourceError::new(Failure::TimedOut, "no answer"));
    let unknown = write_through_cache(&cache, WriteThrough::new([update], lost))?;
    println!("database, no answer: {} ({})", shown(&cache), name_of(&unknown));
    let Transacted::InDoubt { doubts, .. } = unknown else { return Err("nobody knows".into()) };
    assert_eq!((shown(&cache).as_str(), cache.stats().in_doubt), ("Acme", 1));
    for doubt in doubts {
        // Its operator was asked.
        assert!(doubt.settle(Settlement::NotApplied));
    }
    assert_eq!(cache.stats().in_doubt, 0);
    Ok(())
}

fn name_of(ended: &Transacted<Bytes>) -> &'static str {
    match ended {
        Transacted::Committed(_) => "committed",
        Transacted::RolledBack(_) => "rolled back",
        Transacted::Partial(_) => "partial",
        _ => "in doubt",
    }
}
