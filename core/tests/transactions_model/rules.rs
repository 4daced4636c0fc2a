//! Simpler rules that must fail, and where each bends the right one.

use super::*;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wrong {
    /// A transaction takes the turns of its keys one after the other.
    TurnsOneByOne,
    /// Each step shows its key as soon as it is Applied.
    KeysShownOneByOne,
    /// `get_many` looks at its keys one after the other.
    TakesOneByOne,
    /// `get_many` loads a key while a transaction on it runs.
    LoadsWithoutWaiting,
    /// `get_many` does not check after its loads.
    NoCheckAfterLoads,
    /// `get_many` checks for moved fences only, not for a transaction that began meanwhile.
    ChecksFencesOnly,
    /// A load that ends while a transaction on its key runs is retained, as it is while a single write is out.
    LoadRetainedDuringTransaction,
    /// The end of a transaction does not detach loads.
    EndKeepsFence,
    /// What was Applied before a refusal is taken back here only.
    OldValuesRestored,
    /// An unknown step is taken for a refused one.
    UnknownIsRejected,
}

impl Config {
    pub(crate) fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    /// A reader may load a key now: `get_many` waits for a transaction that runs on it.
    pub(crate) fn may_load(&self, state: &State, keys: &[usize], key: usize) -> bool {
        keys.len() == 1 || !state.runs_on(key) || self.is(Wrong::LoadsWithoutWaiting)
    }
}

fn finds(wrong: Wrong, what: &str, steps: usize, config: Config) {
    let sound = explore(&config, 10_000_000);
    assert!(sound.fault.is_none(), "the right rule fails too: {:#?}", sound.fault);
    let bent = explore(&Config { wrong: Some(wrong), ..config }, 10_000_000);
    let fault = bent.fault.unwrap_or_else(|| panic!("{wrong:?} was not found in {} states", bent.states));
    eprintln!("| {wrong:?} | {} | {} | {:?} |", fault.what, fault.way.len(), fault.way);
    assert_eq!((fault.what, fault.way.len()), (what, steps), "{:#?}", fault.way);
}

const TORN: &str = "a transaction was seen in part";
const STALE: &str = "at rest, an entry is not the origin's record";

macro_rules! model_finds {
    ($($name:ident: $wrong:ident, $what:expr, $steps:expr, $config:expr;)*) => {
        $(#[test]
        fn $name() {
            finds(Wrong::$wrong, $what, $steps, $config);
        })*
    };
}

const REFUSED: Limits = Limits { refused: 1, ..NOTHING };
const LOST: Limits = Limits { lost: 1, ..NOTHING };

model_finds! {
    model_finds_turns_taken_one_by_one: TurnsOneByOne, "somebody is left waiting", 4, config("", &[], &[], NOTHING);
    model_finds_keys_shown_one_by_one: KeysShownOneByOne, TORN, 5, config("", &[1], &[], NOTHING);
    model_finds_get_many_taking_one_by_one: TakesOneByOne, TORN, 9, config("", &[1], &[], NOTHING);
    model_finds_get_many_that_does_not_wait: LoadsWithoutWaiting, TORN, 8, config("", &[1], &[], EVICTED);
    model_finds_get_many_without_a_check: NoCheckAfterLoads, TORN, 8, config("", &[1], &[], EVICTED);
    model_finds_get_many_that_checks_fences_only: ChecksFencesOnly, TORN, 8, config("", &[1], &[], EVICTED);
    model_finds_a_load_retained_during_a_transaction: LoadRetainedDuringTransaction, TORN, 8,
        config("", &[1], &[&[1]], EVICTED);
    model_finds_an_end_that_keeps_the_fence: EndKeepsFence, STALE, 12, config("", &[], &[&[0]], EVICTED);
    model_finds_old_values_restored: OldValuesRestored, STALE, 6, config("", &[], &[], REFUSED);
    model_finds_unknown_taken_for_rejected: UnknownIsRejected, STALE, 4, config("", &[], &[], LOST);
}
