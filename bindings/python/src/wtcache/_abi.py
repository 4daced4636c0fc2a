"""The C ABI in ctypes: numbers, structs, callbacks and functions, as `include/wtcache.h` has them. Nothing here calls anything."""

from __future__ import annotations

from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any

ABI = 1

OK = 0
NOT_FOUND = 1
PENDING = 3
TOO_LATE = 4
ERR_SOURCE = -6
ERR_IN_DOUBT = -9
ERR_ANSWERED = -15
ERR_PANIC = -17
OUTCOME_IN_DOUBT = 1

VERDICT_UNKNOWN, VERDICT_REJECTED, VERDICT_CONFLICT = 0, 1, 2
CONDITION_ABSENT, CONDITION_VERSION, CONDITION_EXISTS = 1, 2, 3
EXPECT_ABSENT, EXPECT_EXISTS, EXPECT_VERSION = 1, 2, 3
LIFETIME_DEFAULT, LIFETIME_NOT_KEPT, LIFETIME_AS_BEFORE, LIFETIME_EXPIRED = 0, -1, -2, -3
WINDOW_NONE = -1
MODE_CONFIRMED = 2
CALL_ANEW, CALL_NOT_KEPT = 1, 2
CLOSE_UNFINISHED, CLOSE_IN_DOUBT, CLOSE_ROLLED_BACK = 0, 1, 2
WROTE_VALUE, WROTE_AS_SENT, WROTE_DELETED = 1, 2, 3
DO_UNDECLARED, DO_PUT, DO_DELETE, DO_CALL, DO_NOTHING = 0, 1, 2, 3, 4

#: What the library has for no end.
ENDLESS = 2**64 - 1


class Request(Structure):
    """`wtcache_request`."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("key", c_void_p),
        ("key_len", c_size_t),
        ("value", c_void_p),
        ("value_len", c_size_t),
        ("remaining_ms", c_uint64),
        ("version", c_void_p),
        ("version_len", c_size_t),
        ("idempotency_key", c_char_p),
        ("condition", c_int32),
        ("reserved", c_int32),
        ("condition_version", c_void_p),
        ("condition_version_len", c_size_t),
    ]


class Event(Structure):
    """`wtcache_event`."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("kind", c_int32),
        ("absent", c_int32),
        ("kept", c_int32),
        ("reserved", c_int32),
        ("key", c_void_p),
        ("key_len", c_size_t),
        ("sequence", c_uint64),
        ("differs_ms", c_uint64),
    ]


Callback = CFUNCTYPE(None, c_void_p, POINTER(Request), c_void_p)
Release = CFUNCTYPE(None, c_void_p)
ListenerCall = CFUNCTYPE(None, c_void_p, POINTER(Event))
UpdateCall = CFUNCTYPE(None, c_void_p, c_void_p, c_void_p)
MergeCall = CFUNCTYPE(None, c_void_p, c_void_p, c_size_t, c_void_p)
WeighCall = CFUNCTYPE(None, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p)
ExtractCall = CFUNCTYPE(None, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p)


class Source(Structure):
    """`wtcache_source`."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("user_data", c_void_p),
        ("destroy", Release),
        ("get", Callback),
        ("put", Callback),
        ("remove", Callback),
        ("settle_window_ms", c_uint64),
        ("stores_verbatim", c_int32),
        ("honours_preconditions", c_int32),
        ("honours_idempotency", c_int32),
        ("versions_never_reused", c_int32),
    ]


class Call(Structure):
    """`wtcache_call`."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("deadline_ms", c_uint64),
        ("idempotency_key", c_char_p),
        ("mode", c_int32),
        ("flags", c_int32),
        ("lifetime_ms", c_int64),
        ("max_age_ms", c_uint64),
        ("min_fresh_ms", c_uint64),
        ("max_stale_ms", c_int64),
        ("stale_if_error_ms", c_int64),
    ]


class Bytes(Structure):
    """`wtcache_bytes`."""

    _fields_ = [("data", c_char_p), ("len", c_size_t)]


class Expect(Structure):
    """`wtcache_expect`."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("kind", c_int32),
        ("reserved", c_int32),
        ("versions", POINTER(Bytes)),
        ("version_count", c_size_t),
    ]


class Failure(Structure):
    """`wtcache_failure`."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("verdict", c_int32),
        ("retryable", c_int32),
        ("code", c_int32),
        ("reserved", c_int32),
        ("retry_after_ms", c_uint64),
        ("message", c_char_p),
        ("message_len", c_size_t),
        ("cause", c_void_p),
        ("release_cause", Release),
    ]


class Forgotten(Structure):
    """`wtcache_forgotten`."""

    _fields_ = [("struct_size", c_size_t), ("entries", c_uint64), ("scanned", c_int32), ("reserved", c_int32)]


class KeyInDoubt(Structure):
    """`wtcache_key_in_doubt`."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("key", c_void_p),
        ("key_len", c_size_t),
        ("since_ms", c_uint64),
        ("remaining_ms", c_uint64),
        ("unsettled", c_uint64),
    ]


class Record(Structure):
    """`wtcache_record`."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("version", c_char_p),
        ("version_len", c_size_t),
        ("lifetime_ms", c_int64),
        ("tags", POINTER(Bytes)),
        ("tag_count", c_size_t),
        ("while_revalidate_ms", c_int64),
        ("if_error_ms", c_int64),
        ("age_ms", c_uint64),
    ]


class Step(Structure):
    """`wtcache_step`."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("does", c_int32),
        ("undo", c_int32),
        ("key", Bytes),
        ("value", Bytes),
        ("call", Callback),
        ("writes", POINTER(Bytes)),
        ("write_count", c_size_t),
        ("undo_key", Bytes),
        ("undo_value", Bytes),
        ("undo_call", Callback),
        ("user_data", c_void_p),
        ("destroy", Release),
        ("deadline_ms", c_uint64),
        ("undo_if_unknown", c_int32),
        ("reserved", c_int32),
    ]


# In the signatures: a pointer or handle, bytes of ours, a length, milliseconds, an int32.
_P, _B, _Z, _U, _I = c_void_p, c_char_p, c_size_t, c_uint64, c_int32
_CACHE_KEY = [_P, _B, _Z]

SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "wtcache_abi_version": (c_uint32, []),
    "wtcache_check_abi": (_I, [c_uint32, _P]),
    # Errors
    "wtcache_error_status": (_I, [_P]),
    "wtcache_error_outcome": (_I, [_P]),
    "wtcache_error_message": (_P, [_P]),
    "wtcache_error_message_len": (_Z, [_P]),
    "wtcache_error_retryable": (_I, [_P]),
    "wtcache_error_retry_after_ms": (_U, [_P]),
    "wtcache_error_source_code": (_I, [_P]),
    "wtcache_error_cause": (_P, [_P]),
    "wtcache_error_doubt": (_P, [_P]),
    "wtcache_error_existing": (_P, [_P]),
    "wtcache_error_answer": (_P, [_P, _P]),
    "wtcache_error_answer_type": (_P, [_P, _P]),
    "wtcache_error_answer_version": (_P, [_P, _P]),
    "wtcache_error_answer_truncated": (_I, [_P]),
    "wtcache_error_free": (None, [_P]),
    # Open and close
    "wtcache_config_new": (_P, []),
    "wtcache_config_load_json": (_I, [_P, _B, _Z, _P]),
    "wtcache_config_set_listener": (_I, [_P, ListenerCall, _P, Release, _P]),
    "wtcache_config_free": (None, [_P]),
    # Weights, tags and indexes
    "wtcache_config_set_weigher": (_I, [_P, WeighCall, _P, Release, _P]),
    "wtcache_config_set_tags": (_I, [_P, ExtractCall, _P, Release, _P]),
    "wtcache_config_add_index": (_I, [_P, _B, _Z, ExtractCall, _P, Release, _P]),
    "wtcache_extract_add": (_I, [_P, _B, _Z, _P]),
    "wtcache_extract_done": (_I, [_P, _P]),
    "wtcache_list": (_I, [_P, _B, _Z, _P, _P, _P, _P, _P]),
    "wtcache_find": (_I, [_P, _B, _Z, _B, _Z, _P, _P, _P]),
    "wtcache_open": (_I, [_P, _P, _P]),
    "wtcache_open_with_source": (_I, [_P, POINTER(Source), _P, _P]),
    "wtcache_cache_free": (None, [_P]),
    "wtcache_drain": (_I, [_P, _U, _P]),
    "wtcache_close": (_I, [_P, _U, _P, _P]),
    "wtcache_close_report_count": (_Z, [_P, _I]),
    "wtcache_close_report_key": (_P, [_P, _I, _Z, _P]),
    "wtcache_close_report_free": (None, [_P]),
    # Read
    "wtcache_get": (_I, [*_CACHE_KEY, _P, _P, _P]),
    "wtcache_peek": (_I, [*_CACHE_KEY, _P, _P]),
    "wtcache_entry_key": (_P, [_P, _P]),
    "wtcache_entry_value": (_P, [_P, _P]),
    "wtcache_entry_version": (_P, [_P, _P]),
    "wtcache_entry_is_pending": (_I, [_P]),
    "wtcache_entry_remaining_ms": (_U, [_P, _P]),
    "wtcache_entry_stale_ms": (_U, [_P, _P]),
    "wtcache_entry_age_ms": (_U, [_P, _P]),
    "wtcache_entry_free": (None, [_P]),
    # Many
    "wtcache_get_many": (_I, [_P, _P, _Z, _P, _P, _P]),
    "wtcache_put_many": (_I, [_P, _P, _P, _Z, _P, _P, _P]),
    "wtcache_results_count": (_Z, [_P]),
    "wtcache_results_status": (_I, [_P, _Z]),
    "wtcache_results_entry": (_P, [_P, _Z]),
    "wtcache_results_error": (_P, [_P, _Z]),
    "wtcache_results_free": (None, [_P]),
    # Write
    "wtcache_put": (_I, [*_CACHE_KEY, _B, _Z, _P, _P, _P]),
    "wtcache_create": (_I, [_P, _B, _Z, _P, _P, _P]),
    "wtcache_created_key": (_P, [_P, _P]),
    "wtcache_created_entry": (_P, [_P]),
    "wtcache_created_is_kept": (_I, [_P]),
    "wtcache_created_free": (None, [_P]),
    "wtcache_patch": (_I, [*_CACHE_KEY, _B, _Z, _P, _P, _P]),
    "wtcache_put_if": (_I, [*_CACHE_KEY, _B, _Z, _P, _P, _P, _P]),
    "wtcache_delete": (_I, [*_CACHE_KEY, _P, _P]),
    "wtcache_delete_if": (_I, [*_CACHE_KEY, _P, _P, _P]),
    "wtcache_update": (_I, [*_CACHE_KEY, UpdateCall, _P, _P, _P, _P]),
    "wtcache_change_put": (_I, [_P, _B, _Z, _P]),
    "wtcache_change_delete": (_I, [_P, _P]),
    "wtcache_change_keep": (_I, [_P, _P]),
    # Forget
    "wtcache_invalidate": (_I, [*_CACHE_KEY, _P]),
    "wtcache_invalidate_prefix": (_I, [*_CACHE_KEY, _P, _P]),
    "wtcache_invalidate_pattern": (_I, [*_CACHE_KEY, _P, _P]),
    "wtcache_invalidate_tag": (_I, [*_CACHE_KEY, _P, _P]),
    # Doubts
    "wtcache_doubt_key": (_P, [_P, _P]),
    "wtcache_doubt_idempotency_key": (_B, [_P]),
    "wtcache_doubt_remaining_ms": (_U, [_P]),
    "wtcache_doubt_outcome": (_I, [_P]),
    "wtcache_doubt_wait": (_I, [_P, _U, _P]),
    "wtcache_doubt_replay": (_I, [_P, _P, _P, _P]),
    "wtcache_doubt_settle": (_I, [_P, _I, _P]),
    "wtcache_doubt_free": (None, [_P]),
    "wtcache_settle": (_I, [*_CACHE_KEY, _I, _P]),
    "wtcache_list_doubts": (_I, [_P, _Z, _P, _P]),
    "wtcache_doubt_list_count": (_Z, [_P]),
    "wtcache_doubt_list_get": (_I, [_P, _Z, POINTER(KeyInDoubt), _P]),
    "wtcache_doubt_list_free": (None, [_P]),
    # Permits
    "wtcache_prepare": (_I, [*_CACHE_KEY, _P, _P, _P]),
    "wtcache_permit_existing": (_I, [_P, _P, _P]),
    "wtcache_permit_remaining_ms": (_U, [_P]),
    "wtcache_permit_idempotency_key": (_B, [_P]),
    "wtcache_permit_abort": (_I, [_P, _P]),
    "wtcache_permit_send": (_I, [_P, _P]),
    "wtcache_permit_commit": (_I, [_P, _B, _Z, _P, _P, _P]),
    "wtcache_permit_commit_unseen": (_I, [_P, _P]),
    "wtcache_permit_commit_deleted": (_I, [_P, _P]),
    "wtcache_permit_reject": (_I, [_P, _I, _P]),
    "wtcache_permit_in_doubt": (_I, [_P, POINTER(Failure), _P, _P]),
    "wtcache_permit_free": (None, [_P]),
    # Optimistic
    "wtcache_put_optimistic": (_I, [*_CACHE_KEY, _B, _Z, _P, _P, _P]),
    "wtcache_delete_optimistic": (_I, [*_CACHE_KEY, _P, _P, _P]),
    "wtcache_merge_optimistic": (_I, [*_CACHE_KEY, MergeCall, _P, Release, _P, _P, _P]),
    "wtcache_pending_wait": (_I, [_P, _U, _P, _P]),
    "wtcache_pending_has_ended": (_I, [_P]),
    "wtcache_pending_cancel": (_I, [_P, _P]),
    "wtcache_pending_free": (None, [_P]),
    # Transactions
    "wtcache_transaction_new": (_I, [_P, _P, _P]),
    "wtcache_transaction_update": (_I, [*_CACHE_KEY, _B, _Z, c_int64, _P]),
    "wtcache_transaction_remove": (_I, [*_CACHE_KEY, _P]),
    "wtcache_transaction_step": (_I, [_P, POINTER(Step), _P]),
    "wtcache_transaction_invalidate_prefix": (_I, [*_CACHE_KEY, _P]),
    "wtcache_transaction_invalidate_pattern": (_I, [*_CACHE_KEY, _P]),
    "wtcache_transaction_invalidate_tag": (_I, [*_CACHE_KEY, _P]),
    "wtcache_transaction_set_deadline_ms": (_I, [_P, _U, _P]),
    "wtcache_transaction_set_undo_deadline_ms": (_I, [_P, _U, _P]),
    "wtcache_transaction_run": (_I, [_P, _P, _P]),
    "wtcache_transaction_start": (_I, [_P, _P, _P]),
    "wtcache_transaction_free": (None, [_P]),
    "wtcache_transacted_end": (_I, [_P]),
    "wtcache_transacted_error": (_P, [_P]),
    "wtcache_transacted_step_count": (_Z, [_P]),
    "wtcache_transacted_step": (_I, [_P, _Z]),
    "wtcache_transacted_step_error": (_P, [_P, _Z]),
    "wtcache_transacted_undo": (_I, [_P, _Z]),
    "wtcache_transacted_undo_error": (_P, [_P, _Z]),
    "wtcache_transacted_entry": (_P, [_P, _Z]),
    "wtcache_transacted_doubt_count": (_Z, [_P]),
    "wtcache_transacted_doubt": (_P, [_P, _Z]),
    "wtcache_transacted_free": (None, [_P]),
    "wtcache_started_wait": (_I, [_P, _U, _P, _P]),
    "wtcache_started_has_ended": (_I, [_P]),
    "wtcache_started_free": (None, [_P]),
    # Event loops
    "wtcache_queue_new": (_I, [_Z, _Z, _P, _P]),
    "wtcache_queue_descriptor": (_I, [_P]),
    "wtcache_queue_next": (_I, [_P, _P, _P]),
    "wtcache_queue_cancel": (_I, [_P, _U, _P]),
    "wtcache_queue_free": (None, [_P]),
    "wtcache_completion_id": (_U, [_P]),
    "wtcache_completion_status": (_I, [_P]),
    "wtcache_completion_entry": (_P, [_P]),
    "wtcache_completion_error": (_P, [_P]),
    "wtcache_completion_results": (_P, [_P]),
    "wtcache_completion_transacted": (_P, [_P]),
    "wtcache_completion_created": (_P, [_P]),
    "wtcache_completion_listed": (_P, [_P, _P, _P]),
    "wtcache_completion_free": (None, [_P]),
    "wtcache_get_async": (_I, [_P, *_CACHE_KEY, _P, _P, _P, _P]),
    "wtcache_get_many_async": (_I, [_P, _P, _P, _Z, _P, _P, _P, _P]),
    "wtcache_put_async": (_I, [_P, *_CACHE_KEY, _B, _Z, _P, _P, _P, _P, _P]),
    "wtcache_delete_async": (_I, [_P, *_CACHE_KEY, _P, _P, _P, _P, _P]),
    "wtcache_create_async": (_I, [_P, _P, _B, _Z, _P, _P, _P, _P]),
    "wtcache_patch_async": (_I, [_P, *_CACHE_KEY, _B, _Z, _P, _P, _P, _P]),
    "wtcache_list_async": (_I, [_P, _P, _B, _Z, _P, _P, _P, _P]),
    "wtcache_transaction_async": (_I, [_P, _P, _P, _P, _P]),
    "wtcache_pending_async": (_I, [_P, _P, _P, _P, _P]),
    # Counts
    "wtcache_get_stats_json": (_I, [_P, _P, _P, _P]),
    "wtcache_get_origin_json": (_I, [_P, _P, _P, _P]),
    "wtcache_get_feed_json": (_I, [_P, _P, _P, _P]),
    "wtcache_string_free": (None, [_P]),
    # Replies
    "wtcache_reply_value": (_I, [_P, _B, _Z, POINTER(Record), _P]),
    "wtcache_reply_absent_for": (_I, [_P, c_int64, _P]),
    "wtcache_reply_unchanged": (_I, [_P, POINTER(Record), _P]),
    "wtcache_reply_applied": (_I, [_P, _P]),
    "wtcache_reply_stored": (_I, [_P, _P, _P]),
    "wtcache_reply_error": (_I, [_P, POINTER(Failure), _P]),
    "wtcache_reply_existing": (_I, [_P, _P, _P]),
    "wtcache_reply_wrote": (_I, [_P, _B, _Z, _I, _B, _Z, POINTER(Record), _P]),
}
