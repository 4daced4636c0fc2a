//! The Python package over the library that was just built: its own tests, and the tutorial, against the sample origin over a real socket.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::process::Command;

use common::{Kind, artifact, is_the_tutorial, output_of, root, run};
use wtcache_origin::{Origin, OriginOptions};

fn origin() -> Origin {
    Origin::start(OriginOptions::new().api_key("sample-key")).unwrap()
}

/// Python with the package as it lies in the repository; where `WTCACHE_PYTHON` names an interpreter, with the package that is
/// installed there.
fn python(origin: &Origin) -> Command {
    let mut command;
    match std::env::var_os("WTCACHE_PYTHON") {
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

/// Where the members lie of a struct of the ABI, and how long it is: all of it, or what comes before the first member that the package does
/// not know.
macro_rules! layout {
    ($name:ident: $($member:ident),+) => {
        layout!($name, size_of::<$name>(); $($member),+)
    };
    ($name:ident before $unknown:ident: $($member:ident),+) => {
        layout!($name, std::mem::offset_of!($name, $unknown); $($member),+)
    };
    ($name:ident, $size:expr; $($member:ident),+) => {
        format!(
            "{} {}{}\n",
            stringify!($name),
            $size,
            [$((stringify!($member), std::mem::offset_of!($name, $member))),+]
                .map(|(member, offset)| format!(" {member}={offset}"))
                .concat()
        )
    };
}

#[test]
fn the_structs_and_numbers_of_the_package_are_those_of_the_abi() {
    use wtcache_ffi::*;
    let ours = [
        layout!(wtcache_request: struct_size, key, key_len, value, value_len, remaining_ms, version, version_len,
            idempotency_key, condition, reserved, condition_version, condition_version_len),
        layout!(wtcache_source: struct_size, user_data, destroy, get, put, remove, settle_window_ms, stores_verbatim,
            honours_preconditions, honours_idempotency, versions_never_reused),
        layout!(wtcache_call before mode: struct_size, deadline_ms, idempotency_key),
        layout!(wtcache_record before tags: struct_size, version, version_len, lifetime_ms),
        layout!(wtcache_failure: struct_size, verdict, retryable, code, reserved, retry_after_ms, message, message_len,
            cause, release_cause),
        layout!(wtcache_python: struct_size, object_size, Py_IncRef, Py_DecRef, PyBytes_AsStringAndSize,
            PyBytes_FromStringAndSize, PyDict_New, PyDict_SetItem, PyErr_Clear, PyLong_AsVoidPtr, PyObject_Call,
            PyObject_GetAttrString, PyObject_Type, PyTuple_GetItem, PyTuple_New, PyTuple_SetItem, PyTuple_Size,
            PyType_FromSpec, PyType_GetSlot, PyUnicode_AsUTF8AndSize),
        format!("{:?}\n", [WTCACHE_OK, WTCACHE_NOT_FOUND, WTCACHE_ERR_SOURCE, WTCACHE_ERR_IN_DOUBT]),
        format!("{:?}\n", [WTCACHE_ERR_CONFIG, WTCACHE_ERR_CLOSED, WTCACHE_ERR_DEADLINE, WTCACHE_ERR_REJECTED]),
        format!("{:?}\n", [WTCACHE_ERR_CONFLICT, WTCACHE_ERR_REENTRANT, WTCACHE_ERR_ANSWERED]),
        format!("{:?}\n", [WTCACHE_VERDICT_UNKNOWN, WTCACHE_VERDICT_REJECTED, WTCACHE_VERDICT_CONFLICT]),
        format!("{:?}\n", [WTCACHE_CONDITION_ABSENT, WTCACHE_CONDITION_VERSION, WTCACHE_OUTCOME_IN_DOUBT]),
        format!("{WTCACHE_LIFETIME_NOT_KEPT} {WTCACHE_ABI_VERSION}\n"),
    ];
    let program = "
import ctypes
from wtcache import _errors as e, _hits as h, _library as l, _source as s
names = dict(wtcache_request=l.Request, wtcache_source=l.SourceStruct, wtcache_call=l.Call, wtcache_record=l.RecordStruct,
             wtcache_failure=l.Failure, wtcache_python=h.PythonStruct)
for name, struct in names.items():
    members = [f'{m}={getattr(struct, m).offset}' for m, *_ in struct._fields_]
    print(name, ctypes.sizeof(struct), *members)
numbers = {kind: number for number, kind in l._CLASSES.items()}
print([l.OK, l.NOT_FOUND, l.ERR_SOURCE, l.ERR_IN_DOUBT])
print([numbers[k] for k in (e.ConfigError, e.ClosedError, e.TimeoutError, e.RejectedError)])
print([numbers[e.ConflictError], numbers[e.ReentrantError], s._ANSWERED])
print([s._UNKNOWN, s._REJECTED, s._CONFLICT])
print([s._CONDITION_ABSENT, s._CONDITION_VERSION, l.OUTCOME_IN_DOUBT])
print(s._NOT_KEPT, l.ABI)
";
    let origin = origin();
    assert_eq!(output_of(python(&origin).args(["-c", program])), ours.concat());
}

#[test]
fn the_tutorial_runs_against_the_sample_origin() {
    let origin = origin();
    let told = output_of(python(&origin).args(["examples/python/tutorial.py", &origin.url()]));
    is_the_tutorial(&told, &origin);
}
