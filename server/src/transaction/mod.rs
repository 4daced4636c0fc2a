//! `POST /-/transaction`: updates of records of one or several tables, made at their origins one after the other, and undone where one
//! is refused.
//!
//! A transaction is of one cache. The table with the most updates is the one whose records are shown together: its turns are taken at once,
//! and its cache runs the steps. A record of another table is written by a step, in its own turn. `read.rs` says what a body means, `told.rs`
//! what is answered. Invariants: a body that is not understood whole sends nothing; where all was applied, what is to be forgotten of other
//! tables goes before the records that are shown together are.

mod read;
mod told;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use wtcache::{
    Bytes, Call, Change, Entry, NotSent, Outcome, PatternError, SourceError, Step, StepCx, StepDone, StepEnd,
    Transacted, Transaction, WriteError, Written,
};

use self::read::{Asked, Does, Forgets, Undo, Update};
use crate::answer::{self, Answer, header};
use crate::auth::Who;
use crate::front::Front;
use crate::incoming::Incoming;
use crate::invalidate::{Selector, bad, forget};
use crate::pending::accepted;
use crate::prefer::{APPLIED, RespondAsync};
use crate::problem::{self, Outcome as Ended, Problem};
use crate::served::{Served, enter_all};
use crate::table::ServedTable;
use crate::trace;
use crate::turnstile::Inside;

/// The largest body.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// The longest that the steps, or undoing them, may take: for so long turns may be held.
const LONGEST: Duration = Duration::from_secs(60);

/// The answer to a request for a transaction.
pub(crate) async fn answer(
    front: &Front,
    served: &Arc<Served>,
    who: &Who,
    (headers, body): (&HeaderMap, &mut Incoming),
) -> Answer {
    let (planned, bytes) = match body.read_whole(MAX_BODY_BYTES, "a transaction").await {
        Ok(body) => (planned(front, Arc::clone(served), (who, headers), &body).await, body.len() as u64),
        Err(problem) => (Err(problem), 0),
    };
    let refused = |problem: Problem| {
        let response = problem.outcome(Ended::RolledBack).response();
        Answer::new(response, header("wtcache; detail=invalid-request"), "refused")
    };
    let Planned { plan, shown, inside } = match planned {
        Ok(planned) => planned,
        Err(problem) => return refused(problem),
    };
    if let Some(asked) = shown {
        return plan.run_shown(asked, bytes, inside).await;
    }
    let run = async move {
        let _inside = inside;
        plan.run().await
    };
    // On its own: what it forgets does not depend on whether its client waits for it.
    match tokio::spawn(trace::along(run)).await {
        Ok(answer) => answer,
        Err(_) => refused(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server is ending")),
    }
}

/// What is to be run, within all of its tables, which are of one configuration.
struct Planned {
    plan: Plan,
    /// Its client does not wait for the end.
    shown: Option<RespondAsync>,
    inside: Vec<Inside>,
}

async fn planned(
    front: &Front,
    mut served: Arc<Served>,
    (who, headers): (&Who, &HeaderMap),
    body: &[u8],
) -> Result<Planned, Problem> {
    loop {
        let asked = allowed(who, read::asked(&served.tables, body)?)?;
        match enter_all(asked.tables()).await {
            Ok(inside) => {
                let shown = RespondAsync::of(headers).filter(|_| asked.may_be_shown());
                return Ok(Planned { plan: Plan::of(asked, shown.is_some())?, shown, inside });
            }
            Err(Some(problem)) => return Err(problem),
            Err(None) => served = front.served(),
        }
    }
}

/// # Errors
/// 401 or 403: not all of it is for him.
fn allowed(who: &Who, asked: Asked) -> Result<Asked, Problem> {
    for update in &asked.updates {
        let method = match &update.does {
            Does::Put(_) => Method::PUT,
            Does::Patch(_) => Method::PATCH,
            Does::Delete => Method::DELETE,
        };
        who.may(&method, &update.table.schema.name)?;
    }
    asked.forgets.iter().try_for_each(|forgets| who.may_write_some(&forgets.table.schema.name))?;
    Ok(asked)
}

/// What a step of another table said of its failure.
type Words = Arc<Mutex<Option<Problem>>>;

/// An update, as the answer tells of it.
struct Named {
    table: String,
    key: String,
    words: Words,
}

/// A transaction that is ready to run.
struct Plan {
    home: ServedTable,
    transaction: Transaction<Bytes>,
    named: Vec<Named>,
    /// What is to be forgotten of other tables, until that is done.
    elsewhere: Arc<Mutex<Vec<Forgets>>>,
}

impl Plan {
    /// # Errors
    /// The problem for the client: a pattern is none.
    fn of(asked: Asked, shown: bool) -> Result<Self, Problem> {
        let Asked { updates, forgets } = asked;
        let home = home(&updates).clone();
        let is_home = |table: &ServedTable| table.schema.name == home.schema.name;
        let longest = |of: &dyn Fn(&Update) -> bool| {
            updates.iter().filter(|update| of(update)).map(|update| update.table.timeout).sum::<Duration>().min(LONGEST)
        };
        let mut transaction = home
            .cache()
            .transaction()
            .deadline(longest(&|_| true))
            .undo_deadline(longest(&|update| update.undo.is_some()));
        let mut elsewhere = Vec::new();
        for (number, forgets) in forgets.into_iter().enumerate() {
            let wrong = |why: PatternError| bad(&format!("invalidate[{number}].pattern"), &why.to_string());
            if is_home(&forgets.table) {
                transaction = forgetting(transaction, &forgets.selector).map_err(wrong)?;
            } else {
                // For the sake of its error: it is forgotten by a step.
                drop(forgetting(forgets.table.cache().transaction(), &forgets.selector).map_err(wrong)?);
                elsewhere.push(forgets);
            }
        }
        let mut named = Vec::with_capacity(updates.len());
        for update in updates {
            let words = Words::default();
            let (table, key) = (update.table.schema.name.clone(), update.key.clone());
            let at_home = is_home(&update.table);
            if shown && at_home && update.reads() {
                // It is known all the same. What else is put or deleted is shown by its step.
                transaction = match &update.does {
                    Does::Put(value) => transaction.update(key.as_str(), value.clone()),
                    Does::Delete => transaction.remove(key.as_str()),
                    Does::Patch(_) => transaction,
                };
            }
            let step = if at_home { step_here(update) } else { step_elsewhere(update, &words) };
            transaction = transaction.step(step);
            named.push(Named { table, key, words });
        }
        let elsewhere = Arc::new(Mutex::new(elsewhere));
        let last = Arc::clone(&elsewhere);
        let forget_elsewhere = move |_: &StepCx<'_>| {
            forget_all(&last);
            Outcome::Applied(StepDone::new())
        };
        transaction = transaction.step(Step::call(forget_elsewhere).undo_nothing());
        Ok(Self { home, transaction, named, elsewhere })
    }

    async fn run(self) -> Answer {
        let Self { home, transaction, named, elsewhere } = self;
        let ended = home.cache.transact(transaction).await;
        let ended = forgotten(ended, elsewhere).await;
        told::answer(&named, &ended)
    }

    /// Shows what it can at once, and goes on in the background, within its tables to its end. `bytes`: of the body.
    async fn run_shown(self, asked: RespondAsync, bytes: u64, inside: Vec<Inside>) -> Answer {
        let Self { home, transaction, named, elsewhere } = self;
        let outcomes = Arc::clone(&home.outcomes);
        let since = outcomes.wall(home.cache().now());
        let updates: Vec<Value> = named.iter().map(|named| json!({ "table": named.table, "key": named.key })).collect();
        let told = json!({ "outcome": "pending", "updates": &updates });
        let refused = |why: NotSent| {
            let problem = problem::in_words(&why.into()).outcome(Ended::RolledBack);
            Answer::new(problem.response(), header("wtcache; detail=not-sent"), "not sent")
        };
        let id = match outcomes.begins_transaction(updates, bytes, &since) {
            Ok(id) => id,
            Err(why) => return refused(why),
        };
        let pending = match transaction.start() {
            Ok(pending) => pending,
            Err(why) => {
                outcomes.forget(id);
                return refused(why);
            }
        };
        let (tell, plain) = oneshot::channel();
        let keeps = Arc::clone(&outcomes);
        // On its own, whoever waits for it.
        tokio::spawn(async move {
            let ended = forgotten(pending.await, elsewhere).await;
            drop(inside);
            keeps.ended(id, told::later(&named, &ended));
            // Nobody may wait for it any more.
            let _ = tell.send(told::answer(&named, &ended));
        });
        if let Some(wait) = asked.wait()
            && let Ok(Ok(answer)) = tokio::time::timeout(wait, plain).await
        {
            outcomes.forget(id);
            return answer.with(APPLIED, header(&format!("wait={}", asked.wait_seconds)));
        }
        accepted(answer::json(told.to_string().into_bytes()), id, asked, since)
    }
}

/// Forgets what is to be forgotten of other tables, where something was written.
async fn forgotten(ended: Transacted<Bytes>, elsewhere: Arc<Mutex<Vec<Forgets>>>) -> Transacted<Bytes> {
    let wrote = |end: &StepEnd<Bytes>| matches!(end, StepEnd::Applied { .. } | StepEnd::Unknown { .. });
    if matches!(ended, Transacted::InDoubt { .. }) || ended.steps().iter().any(wrote) {
        // Nothing, where the last step has done it. Only a runtime that ends does not run it.
        let _ = tokio::task::spawn_blocking(move || forget_all(&elsewhere)).await;
    }
    ended
}

/// The table whose records are shown together: that with the most updates; of several, the one that is named first.
fn home(updates: &[Update]) -> &ServedTable {
    let of =
        |table: &ServedTable| updates.iter().filter(|update| update.table.schema.name == table.schema.name).count();
    let mut best = &updates[0].table;
    for update in updates {
        if of(&update.table) > of(best) {
            best = &update.table;
        }
    }
    best
}

/// The transaction that also forgets what is selected.
fn forgetting(transaction: Transaction<Bytes>, selector: &Selector) -> Result<Transaction<Bytes>, PatternError> {
    Ok(match selector {
        Selector::Keys(keys) => {
            let mut transaction = transaction;
            for key in keys {
                transaction = transaction.invalidate_pattern(literally(key))?;
            }
            transaction
        }
        Selector::Prefix(prefix) => transaction.invalidate_prefix(prefix),
        Selector::Pattern(pattern) => transaction.invalidate_pattern(pattern)?,
        Selector::Tag(tag) => transaction.invalidate_tag(tag),
        Selector::All => transaction.invalidate_prefix(""),
    })
}

/// The pattern that only this key matches.
fn literally(key: &str) -> String {
    key.replace('\\', "\\\\").replace('*', "\\*")
}

fn forget_all(elsewhere: &Mutex<Vec<Forgets>>) {
    let forgets = std::mem::take(&mut *elsewhere.lock().unwrap_or_else(PoisonError::into_inner));
    for Forgets { table, selector } in forgets {
        // Its pattern is one: that was looked at before anything was sent.
        let _ = forget(&table, selector);
    }
}

type Existing<'a> = Option<&'a Entry<Bytes>>;

/// What an update makes of the record that is there.
fn makes(update: Update) -> impl FnOnce(Existing<'_>) -> Result<Change<Vec<u8>>, SourceError> + Send + 'static {
    let Update { does, precondition, .. } = update;
    move |existing| match does {
        Does::Patch(patch) => {
            // RFC 9110 §13.2.1: where there is nothing to be patched, a condition is not looked at.
            let merged = patch.merged_with(existing.map(Entry::value))?;
            precondition.check(existing)?;
            Ok(Change::Put(merged))
        }
        Does::Put(value) => {
            precondition.check(existing)?;
            Ok(Change::Put(value))
        }
        Does::Delete => {
            precondition.check(existing)?;
            Ok(Change::Delete)
        }
    }
}

fn restored(was: Existing<'_>) -> Change<Vec<u8>> {
    was.map_or(Change::Delete, |entry| Change::Put(entry.value().to_vec()))
}

/// A step of the table whose transaction it is.
fn step_here(update: Update) -> Step<Bytes> {
    let (key, timeout) = (update.key.clone(), update.table.timeout);
    let (undo, undo_in_doubt) = (update.undo.clone(), update.undo_in_doubt);
    let step = match &update.does {
        _ if update.reads() => Step::update(key.as_str(), makes(update)),
        Does::Put(value) => Step::put(key.as_str(), value.clone()),
        _ => Step::delete(key.as_str()),
    };
    let step = match undo {
        None => step,
        Some(Undo::Nothing) => step.undo_nothing(),
        Some(Undo::Restore) => step.undo_of(restored),
        Some(Undo::Put(value)) => step.undo_put(key.as_str(), value),
        Some(Undo::Delete) => step.undo_delete(key.as_str()),
    };
    let step = step.deadline(timeout);
    if undo_in_doubt { step.undo_if_unknown() } else { step }
}

/// A step of another table, whose cache writes and shows it by itself.
fn step_elsewhere(update: Update, words: &Words) -> Step<Bytes> {
    let (key, table) = (update.key.clone(), update.table.clone());
    let (undo, undo_in_doubt) = (update.undo.clone(), update.undo_in_doubt);
    let was: Arc<Mutex<Option<Change<Vec<u8>>>>> = Arc::default();
    let (noted, words) = (Arc::clone(&was), Arc::clone(words));
    let timeout = table.timeout;
    let (undoes, undone_key) = (table.clone(), key.clone());
    let step = Step::call(move |cx| {
        let (cache, call) = (table.cache(), cx.call());
        let written = match &update.does {
            _ if update.reads() => {
                let makes = makes(update);
                let noting = move |existing: Existing<'_>| {
                    *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(restored(existing));
                    makes(existing)
                };
                cache.update_with(key.as_str(), noting, &call)
            }
            Does::Put(value) => cache.put_with(key.as_str(), value.clone(), &call),
            _ => cache.delete_with(key.as_str(), &call),
        };
        match written {
            Ok(Written { entry, .. }) => Outcome::Applied(StepDone::new().value(entry)),
            Err(error) => {
                *words.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem::in_words(&error));
                error.into_outcome()
            }
        }
    });
    let step = match undo {
        None => step,
        Some(Undo::Nothing) => step.undo_nothing(),
        Some(undo) => step.undo(move |cx| {
            let change = match undo {
                Undo::Put(value) => Change::Put(value),
                Undo::Delete => Change::Delete,
                // Where it was not read, nothing was sent.
                _ => was.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(Change::Keep),
            };
            undone(&undoes, &undone_key, change, &cx.call())
        }),
    };
    let step = step.deadline(timeout);
    if undo_in_doubt { step.undo_if_unknown() } else { step }
}

/// Undoes what a step of another table did.
fn undone(table: &ServedTable, key: &str, change: Change<Vec<u8>>, call: &Call) -> Outcome<StepDone<Bytes>> {
    let written = match change {
        Change::Put(value) => table.cache().put_with(key, value, call),
        Change::Delete => table.cache().delete_with(key, call),
        Change::Keep => return Outcome::Applied(StepDone::new()),
    };
    match written {
        Ok(_) => Outcome::Applied(StepDone::new()),
        Err(error) => WriteError::into_outcome(error),
    }
}
