//! The Python package over the library that was just built: its own tests, and the tutorial, against the sample origin over a real socket.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::ffi::OsString;
use std::process::Command;

use common::{Kind, artifact, is_the_tutorial, output_of, root, run, scratch};
use wtcache_origin::{Origin, OriginOptions};

fn origin() -> Origin {
    Origin::start(OriginOptions::new().api_key("sample-key")).unwrap()
}

/// The interpreter with the package installed that was made for these tests, if one was.
fn installed() -> Option<OsString> {
    std::env::var_os("WTCACHE_PYTHON")
}

/// Python with the package as it lies in the repository, or as it is installed.
fn python(origin: &Origin) -> Command {
    let mut command;
    match installed() {
        Some(interpreter) => command = Command::new(interpreter),
        None => {
            command = Command::new("python3");
            command
                .env("PYTHONPATH", root().join("bindings/python/src"))
                .env("WTCACHE_LIBRARY", artifact(Kind::Shared));
        }
    }
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("WTCACHE_TEST_ORIGIN", origin.url()).current_dir(root());
    command
}

#[test]
fn the_tests_of_the_package_hold() {
    let origin = origin();
    let output =
        run(python(&origin).args(["-W", "error", "-m", "unittest", "discover", "-s", "bindings/python/tests"]));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.trim_end().ends_with("OK"), "some were skipped: {told}");
}

/// The package as it is where it is not accelerated: its tests, but for those of that.
#[test]
fn the_tests_of_the_package_hold_without_the_fast_hit() {
    let origin = origin();
    let program = "
import sys, unittest
sys.abiflags += 't'
import wtcache
assert not wtcache.accelerated
unittest.main(None, argv=['', 'discover', '-s', 'bindings/python/tests', '-p', 'test_[!a]*.py'])
";
    let output = run(python(&origin).args(["-W", "error", "-c", program]));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.trim_end().ends_with("OK"), "some were skipped: {told}");
}

/// By mypy, where the interpreter has it: what the package says of its types, and what a program is told that uses them.
#[test]
fn the_types_of_the_package_are_sound() {
    let mypy = || {
        let mut command = Command::new(installed().unwrap_or_else(|| "python3".into()));
        let cache = scratch("mypy");
        command.args(["-m", "mypy", "--strict", "--cache-dir"]).arg(cache).current_dir(root().join("bindings/python"));
        command
    };
    if !run(mypy().arg("--version")).status.success() {
        // In CI the interpreter that is made for these tests has it.
        assert!(installed().is_none() || std::env::var_os("WTCACHE_CI").is_none(), "mypy is missing");
        eprintln!("SKIPPED: mypy is not installed");
        return;
    }
    output_of(mypy().args(["--python-version", "3.10", "src/wtcache"]));
    let mut program = mypy();
    // What is installed is found by its py.typed.
    if installed().is_none() {
        program.env("MYPYPATH", "src");
    }
    let told = run(program.arg("tests/typed.py"));
    let said = String::from_utf8_lossy(&told.stdout);
    // The last line of the program is wrong, on purpose.
    assert_eq!(said.lines().count(), 2, "{said}{}", String::from_utf8_lossy(&told.stderr));
    assert!(said.contains(r#"Argument 2 to "put" of "Cache" has incompatible type "str"; expected "bytes""#), "{said}");
}

/// Where the members lie of a struct of the ABI, and how long it is.
macro_rules! layout {
    ($name:ident: $($member:ident),+) => {
        format!(
            "{} {}{}\n",
            stringify!($name),
            size_of::<$name>(),
            [$((stringify!($member), std::mem::offset_of!($name, $member))),+]
                .map(|(member, offset)| format!(" {member}={offset}"))
                .concat()
        )
    };
}

/// Numbers of the ABI, by what the package calls them.
macro_rules! numbers {
    ($($number:ident is $($ours:ident).+),+ $(,)?) => {
        [$(format!("{} {}\n", [$(stringify!($ours)),+].join("."), $number)),+].concat()
    };
}

#[test]
fn the_structs_and_numbers_of_the_package_are_those_of_the_abi() {
    use wtcache_ffi::*;
    let structs = [
        layout!(wtcache_request: struct_size, key, key_len, value, value_len, remaining_ms, version, version_len,
            idempotency_key, condition, reserved, condition_version, condition_version_len),
        layout!(wtcache_event: struct_size, kind, absent, kept, reserved, key, key_len, sequence, differs_ms),
        layout!(wtcache_source: struct_size, user_data, destroy, get, put, remove, settle_window_ms, stores_verbatim,
            honours_preconditions, honours_idempotency, versions_never_reused),
        layout!(wtcache_call: struct_size, deadline_ms, idempotency_key, mode, flags, lifetime_ms, max_age_ms, min_fresh_ms,
            max_stale_ms, stale_if_error_ms),
        layout!(wtcache_bytes: data, len),
        layout!(wtcache_expect: struct_size, kind, reserved, versions, version_count),
        layout!(wtcache_failure: struct_size, verdict, retryable, code, reserved, retry_after_ms, message, message_len,
            cause, release_cause),
        layout!(wtcache_forgotten: struct_size, entries, scanned, reserved),
        layout!(wtcache_key_in_doubt: struct_size, key, key_len, since_ms, remaining_ms, unsettled),
        layout!(wtcache_record: struct_size, version, version_len, lifetime_ms, tags, tag_count, while_revalidate_ms,
            if_error_ms, age_ms),
        layout!(wtcache_step: struct_size, does, undo, key, value, call, writes, write_count, undo_key, undo_value,
            undo_call, user_data, destroy, deadline_ms, undo_if_unknown, reserved),
        layout!(wtcache_python: struct_size, object_size, Py_IncRef, Py_DecRef, PyBytes_AsStringAndSize,
            PyBytes_FromStringAndSize, PyDict_New, PyDict_SetItem, PyErr_Clear, PyLong_AsVoidPtr, PyObject_Call,
            PyObject_GetAttrString, PyObject_Type, PyTuple_GetItem, PyTuple_New, PyTuple_SetItem, PyTuple_Size,
            PyType_FromSpec, PyType_GetSlot, PyUnicode_AsUTF8AndSize),
    ];
    let numbers = numbers![
        WTCACHE_ABI_VERSION is abi.ABI,
        WTCACHE_OK is abi.OK,
        WTCACHE_NOT_FOUND is abi.NOT_FOUND,
        WTCACHE_PENDING is abi.PENDING,
        WTCACHE_TOO_LATE is abi.TOO_LATE,
        WTCACHE_ERR_SOURCE is abi.ERR_SOURCE,
        WTCACHE_ERR_IN_DOUBT is abi.ERR_IN_DOUBT,
        WTCACHE_ERR_ANSWERED is abi.ERR_ANSWERED,
        WTCACHE_ERR_PANIC is abi.ERR_PANIC,
        WTCACHE_OUTCOME_IN_DOUBT is abi.OUTCOME_IN_DOUBT,
        WTCACHE_VERDICT_UNKNOWN is abi.VERDICT_UNKNOWN,
        WTCACHE_VERDICT_REJECTED is abi.VERDICT_REJECTED,
        WTCACHE_VERDICT_CONFLICT is abi.VERDICT_CONFLICT,
        WTCACHE_CONDITION_ABSENT is abi.CONDITION_ABSENT,
        WTCACHE_CONDITION_VERSION is abi.CONDITION_VERSION,
        WTCACHE_CONDITION_EXISTS is abi.CONDITION_EXISTS,
        WTCACHE_EXPECT_ABSENT is abi.EXPECT_ABSENT,
        WTCACHE_EXPECT_EXISTS is abi.EXPECT_EXISTS,
        WTCACHE_EXPECT_VERSION is abi.EXPECT_VERSION,
        WTCACHE_LIFETIME_DEFAULT is abi.LIFETIME_DEFAULT,
        WTCACHE_LIFETIME_NOT_KEPT is abi.LIFETIME_NOT_KEPT,
        WTCACHE_LIFETIME_AS_BEFORE is abi.LIFETIME_AS_BEFORE,
        WTCACHE_LIFETIME_EXPIRED is abi.LIFETIME_EXPIRED,
        WTCACHE_WINDOW_NONE is abi.WINDOW_NONE,
        WTCACHE_CALL_ANEW is abi.CALL_ANEW,
        WTCACHE_CALL_NOT_KEPT is abi.CALL_NOT_KEPT,
        WTCACHE_MODE_CONFIRMED is abi.MODE_CONFIRMED,
        WTCACHE_CLOSE_UNFINISHED is abi.CLOSE_UNFINISHED,
        WTCACHE_CLOSE_IN_DOUBT is abi.CLOSE_IN_DOUBT,
        WTCACHE_CLOSE_ROLLED_BACK is abi.CLOSE_ROLLED_BACK,
        WTCACHE_WROTE_VALUE is abi.WROTE_VALUE,
        WTCACHE_WROTE_AS_SENT is abi.WROTE_AS_SENT,
        WTCACHE_WROTE_DELETED is abi.WROTE_DELETED,
        WTCACHE_DO_UNDECLARED is abi.DO_UNDECLARED,
        WTCACHE_DO_PUT is abi.DO_PUT,
        WTCACHE_DO_DELETE is abi.DO_DELETE,
        WTCACHE_DO_CALL is abi.DO_CALL,
        WTCACHE_DO_NOTHING is abi.DO_NOTHING,
        WTCACHE_SETTLEMENT_APPLIED is Settlement.APPLIED.value,
        WTCACHE_SETTLEMENT_NOT_APPLIED is Settlement.NOT_APPLIED.value,
        WTCACHE_SETTLEMENT_OVER is Settlement.OVER.value,
        WTCACHE_COMMITTED is Outcome.COMMITTED.value,
        WTCACHE_ROLLED_BACK is Outcome.ROLLED_BACK.value,
        WTCACHE_PARTIAL is Outcome.PARTIAL.value,
        WTCACHE_IN_DOUBT is Outcome.IN_DOUBT.value,
        WTCACHE_STEP_NOT_RUN is StepOutcome.NOT_RUN.value,
        WTCACHE_STEP_APPLIED is StepOutcome.APPLIED.value,
        WTCACHE_STEP_REJECTED is StepOutcome.REJECTED.value,
        WTCACHE_STEP_NOT_SENT is StepOutcome.NOT_SENT.value,
        WTCACHE_STEP_UNKNOWN is StepOutcome.UNKNOWN.value,
        WTCACHE_EVENT_OTHER is EventKind.OTHER.value,
        WTCACHE_EVENT_RETAINED is EventKind.RETAINED.value,
        WTCACHE_EVENT_PUT is EventKind.PUT.value,
        WTCACHE_EVENT_DELETED is EventKind.DELETED.value,
        WTCACHE_EVENT_PENDING is EventKind.PENDING.value,
        WTCACHE_EVENT_ROLLED_BACK is EventKind.ROLLED_BACK.value,
        WTCACHE_EVENT_REFUSED_STALE is EventKind.REFUSED_STALE.value,
        WTCACHE_EVENT_INVALIDATED is EventKind.INVALIDATED.value,
        WTCACHE_EVENT_DROPPED is EventKind.DROPPED.value,
        WTCACHE_EVENT_EVICTED is EventKind.EVICTED.value,
        WTCACHE_EVENT_EXPIRED is EventKind.EXPIRED.value,
        WTCACHE_EVENT_TOO_HEAVY is EventKind.TOO_HEAVY.value,
        WTCACHE_EVENT_IN_DOUBT is EventKind.IN_DOUBT.value,
        WTCACHE_EVENT_SETTLED is EventKind.SETTLED.value,
        WTCACHE_EVENT_DIFFERS is EventKind.DIFFERS.value,
        WTCACHE_EVENT_PUSHED is EventKind.PUSHED.value,
    ];
    let classes = numbers![
        WTCACHE_ERR_ARGUMENT is ArgumentError,
        WTCACHE_ERR_CONFIG is ConfigError,
        WTCACHE_ERR_CLOSED is ClosedError,
        WTCACHE_ERR_DEADLINE is TimeoutError,
        WTCACHE_ERR_SOURCE is SourceError,
        WTCACHE_ERR_REJECTED is RejectedError,
        WTCACHE_ERR_CONFLICT is ConflictError,
        WTCACHE_ERR_IN_DOUBT is InDoubtError,
        WTCACHE_ERR_HELD_BACK is OverloadedError,
        WTCACHE_ERR_OVERLOADED is OverloadedError,
        WTCACHE_ERR_REENTRANT is ReentrantError,
        WTCACHE_ERR_BUSY is OverloadedError,
        WTCACHE_ERR_CANCELLED is CancelledError,
        WTCACHE_ERR_UNMET is UnmetError,
        WTCACHE_ERR_STATE is StateError,
        WTCACHE_ERR_PARTIAL is PartialError,
    ];
    // The package prints what it has, by the names that are asked for.
    let program = "
import ctypes, sys
import wtcache
from wtcache import _abi as abi, _errors as errors, _hits as hits
for line in sys.argv[1].splitlines():
    name = line.split()[0]
    camel = ''.join(part.title() for part in name.removeprefix('wtcache_').split('_'))
    struct = hits.PythonStruct if camel == 'Python' else getattr(abi, camel)
    print(name, ctypes.sizeof(struct), *(f'{m}={getattr(struct, m).offset}' for m, *_ in struct._fields_))
for line in sys.argv[2].splitlines():
    path = line.split()[0]
    value = abi if path.startswith('abi.') else wtcache
    for part in path.removeprefix('abi.').split('.'):
        value = getattr(value, part)
    print(path, value)
for number, kind in errors.CLASSES.items():
    print(kind.__name__, number)
";
    let (structs, origin) = (structs.concat(), origin());
    let told = output_of(python(&origin).args(["-c", program, &structs, &numbers]));
    assert_eq!(told, [structs, numbers, classes].concat());
}

#[test]
fn the_tutorial_runs_against_the_sample_origin() {
    let origin = origin();
    let told = output_of(python(&origin).args(["examples/python/tutorial.py", &origin.url()]));
    is_the_tutorial(&told, &origin);
}

#[test]
fn a_payment_is_made_and_another_is_refused_and_undone() {
    let told = output_of(python(&origin()).args(["-W", "error", "examples/python/billing.py"]));
    let said: Vec<&str> = told.lines().collect();
    assert_eq!(said[..2], ["paid 30", "the plan is team"]);
    assert_eq!(said[2..4], ["rolled_back: 90 is more than 20", "the plan is team"]);
    assert_eq!(said[4..], ["the database was written 3 times, the bank has 20 left"]);
}
