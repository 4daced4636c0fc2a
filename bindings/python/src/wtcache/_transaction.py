"""Transactions: described in a block, run at its end."""

from __future__ import annotations

import ctypes
import enum
import time
from collections.abc import Callable, Iterable
from ctypes import byref, c_void_p
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic

from . import _abi, _errors as errors
from ._abi import DO_CALL, DO_DELETE, DO_NOTHING, DO_PUT, DO_UNDECLARED, OK, Bytes, Callback, Release
from ._border import Border, K
from ._call import as_bytes, lifetime, list_of, wait
from ._change import DELETE, NOTHING
from ._codec import V
from ._doubt import Doubt
from ._library import DoubtHandle, StartedHandle, Table, TransactionHandle, callback, lib, milliseconds
from ._reply import Record, described, reply_failure, verdict


class Outcome(enum.Enum):
    """How a transaction ended."""

    #: All steps were applied.
    COMMITTED = 0
    #: Nothing of it stands: no step was applied, or all that were are undone.
    ROLLED_BACK = 1
    #: A step was refused after others had been applied that are not all undone.
    PARTIAL = 2
    #: The outcome of a step is not known. The keys that it writes are in doubt.
    IN_DOUBT = 3


class StepOutcome(enum.Enum):
    """What came of a step, or of undoing it."""

    #: It was not run.
    NOT_RUN = 0
    #: It was applied.
    APPLIED = 1
    #: It certainly was not applied, and will not be.
    REJECTED = 2
    #: It was not begun: the error says why.
    NOT_SENT = 3
    #: Nobody can know.
    UNKNOWN = 4


@dataclass(frozen=True)
class StepResult:
    """What came of one step."""

    outcome: StepOutcome
    #: Of a put: the record that the origin confirmed. Of a function: what it returned.
    value: Any
    error: errors.Error | None
    #: What came of undoing it; NOT_RUN also where nothing was declared, or there was no need.
    undo: StepOutcome
    undo_error: errors.Error | None


@dataclass(frozen=True)
class Transacted:
    """What came of a transaction."""

    outcome: Outcome
    #: By step, in the order in which they were described.
    steps: list[StepResult]
    #: The handles on the writes that it left in doubt.
    doubts: list[Doubt[Any, Any]]


class StepContext:
    """What a function is told that is a step, or undoes one. It is good for that call, in that call's thread."""

    def __init__(self, reply: int, request: Any, border: Border, returned: Any) -> None:
        self._reply = reply
        self._border = border
        #: `time.monotonic()` at which it has to be over. After that nothing may be sent.
        self.deadline: float = time.monotonic() + request.remaining_ms / 1000
        #: 32 hexadecimal digits under which all that it sends is to go out. A step has one, and undoing it another.
        self.idempotency_key: str = request.idempotency_key.decode("ascii")
        #: Of undoing: what the step returned. None where it did not get so far.
        self.returned: Any = returned

    def wrote(self, key: Any, value: Any) -> None:
        """The record of `key` now stands so at the origin: a value, or a `Record`. It counts only if the function returns."""
        record = value if isinstance(value, Record) else Record(self._border.encoded(value))
        self._wrote(key, _abi.WROTE_VALUE, record.value, byref(described(record)))

    def wrote_as_shown(self, key: Any) -> None:
        """The record of `key` now stands at the origin exactly as the transaction shows it."""
        self._wrote(key, _abi.WROTE_AS_SENT, b"", None)

    def deleted(self, key: Any) -> None:
        """There is no record of `key` any more."""
        self._wrote(key, _abi.WROTE_DELETED, b"", None)

    def _wrote(self, key: Any, wrote: int, value: bytes, record: Any) -> None:
        raw, error = self._border.key(key), c_void_p()
        status = lib.wtcache_reply_wrote(self._reply, raw, len(raw), wrote, value, len(value), record, byref(error))
        self._border.check(status, error)


class _Step:
    """The functions of a step."""

    def __init__(
        self, border: Border, call: Any, undo: Any, rejects: tuple[type[BaseException], ...]
    ) -> None:
        self.border = border
        self.call = call
        self.undo = undo
        self.rejects = rejects
        self.returned: Any = None


#: The steps of transactions that are described or under way.
steps = Table()


@callback(Release)
def _release_step(number: int | None) -> None:
    steps.drop(number)


@callback(Callback)
def _run_step(number: int | None, request: Any, reply: int | None) -> None:
    step = steps.get(number)

    def run(context: StepContext) -> None:
        step.returned = step.call(context)

    _answer(step, request, reply, run)


@callback(Callback)
def _undo_step(number: int | None, request: Any, reply: int | None) -> None:
    step = steps.get(number)
    _answer(step, request, reply, step.undo)


def _answer(step: _Step, request: Any, reply: int | None, run: Callable[[StepContext], object]) -> None:
    try:
        run(StepContext(reply or 0, request.contents, step.border, step.returned))
        lib.wtcache_reply_applied(reply, None)
    except BaseException as raised:  # noqa: BLE001: it goes to the caller as the cause
        reply_failure(reply, raised, verdict(raised, step))


class _Undeclared(enum.Enum):
    UNDECLARED = 0


_UNDECLARED = _Undeclared.UNDECLARED


class Described(Generic[K, V]):
    """A transaction that is described; nothing happens before its block ends."""

    def __init__(
        self,
        cache: int,
        border: Border,
        timeout: float | None,
        undo_timeout: float | None,
    ) -> None:
        self._border = border
        self._steps: list[_Step] = []
        self._result: Transacted | None = None
        handle, error = c_void_p(), c_void_p()
        border.check(lib.wtcache_transaction_new(cache, byref(handle), byref(error)), error)
        #: None once it has been run, or given up.
        self._handle: TransactionHandle | None = TransactionHandle(handle.value or 0)
        for name, seconds, set_it in (
            ("timeout", timeout, lib.wtcache_transaction_set_deadline_ms),
            ("undo_timeout", undo_timeout, lib.wtcache_transaction_set_undo_deadline_ms),
        ):
            if seconds is not None:
                self._described(set_it, milliseconds(seconds, name))

    def _described(self, function: Any, *arguments: Any) -> None:
        if self._handle is None:
            raise errors.StateError("the transaction's block has ended")
        error = c_void_p()
        self._border.check(function(self._handle, *arguments, byref(error)), error)

    def put(
        self,
        key: K,
        value: V,
        *,
        ttl: float | None = None,
        undo: Any = _UNDECLARED,
        undo_if_unknown: bool = False,
        timeout: float | None = None,
    ) -> None:
        """A step: the cache's source puts `value` as the record of `key`.

        What it confirms is shown together with all else, for `ttl` seconds where it says nothing of that itself.

        `undo` says how it is taken back where a later step is refused: a value to put, `DELETE`, a function as of `step`, or
        `NOTHING`, where there is nothing to undo.
        """
        raw, data = self._border.key(key), self._border.encoded(value)
        if ttl is not None:
            self._described(lib.wtcache_transaction_update, raw, len(raw), data, len(data), lifetime(ttl))
        self._step(DO_PUT, raw, data, None, undo, undo_if_unknown, timeout, (), ())

    def delete(
        self, key: K, *, undo: Any = _UNDECLARED, undo_if_unknown: bool = False, timeout: float | None = None
    ) -> None:
        """A step: the cache's source deletes the record of `key`. Otherwise as `put`."""
        self._step(DO_DELETE, self._border.key(key), b"", None, undo, undo_if_unknown, timeout, (), ())

    def step(
        self,
        call: Callable[[StepContext], object],
        *,
        undo: Any = _UNDECLARED,
        writes: Iterable[K] = (),
        undo_if_unknown: bool = False,
        timeout: float | None = None,
        rejects: tuple[type[BaseException], ...] = (),
    ) -> None:
        """A step: `call` does something, at the origin or anywhere, and is told how with a `StepContext`.

        It answers as a source does: it raises `RejectedError`, or one of `rejects`, only if nothing was done and nothing will be; any
        other exception says that nobody can know. `writes` are the keys that it or its undoing writes; it says with
        `StepContext.wrote` what it left of them. `undo` is a function that takes back what was done, or `NOTHING`.
        """
        if not callable(call):
            raise TypeError(f"a step is a function, not {type(call).__name__}")
        if not (undo is _UNDECLARED or undo is NOTHING or callable(undo)):
            raise TypeError("a function is undone by a function, or by NOTHING")
        self._step(DO_CALL, b"", b"", call, undo, undo_if_unknown, timeout, [self._border.key(key) for key in writes], rejects)

    def _step(
        self,
        does: int,
        key: bytes,
        value: bytes,
        call: Any,
        undo: Any,
        undo_if_unknown: bool,
        timeout: float | None,
        writes: Iterable[bytes],
        rejects: tuple[type[BaseException], ...],
    ) -> None:
        described = _abi.Step(struct_size=ctypes.sizeof(_abi.Step), does=does, undo_if_unknown=bool(undo_if_unknown))
        if timeout is not None:
            described.deadline_ms = max(1, milliseconds(timeout, "timeout"))
        if does == DO_CALL:
            keys = list(writes)
            described.call, described.writes, described.write_count = _run_step, list_of(keys), len(keys)
        else:
            described.key, described.value = Bytes(key, len(key)), Bytes(value, len(value))
        if undo is _UNDECLARED:
            described.undo = DO_UNDECLARED
        elif undo is NOTHING:
            described.undo = DO_NOTHING
        elif undo is DELETE:
            described.undo, described.undo_key = DO_DELETE, Bytes(key, len(key))
        elif callable(undo):
            described.undo, described.undo_call = DO_CALL, _undo_step
        else:
            data = self._border.encoded(undo)
            described.undo, described.undo_key, described.undo_value = DO_PUT, Bytes(key, len(key)), Bytes(data, len(data))
        if self._handle is None:
            raise errors.StateError("the transaction's block has ended")
        step = _Step(self._border, call, undo, rejects)
        described.user_data, described.destroy = steps.add(step), _release_step
        self._described(lib.wtcache_transaction_step, byref(described))
        self._steps.append(step)

    def update(self, key: K, value: V, *, ttl: float | None = None) -> None:
        """`value` is to be shown as the record of `key`, for `ttl` seconds.

        It is sent nowhere: the steps do at the origin what makes it so. Where none of them writes the key, it is kept as it is once all
        were applied.
        """
        raw, data = self._border.key(key), self._border.encoded(value)
        self._described(lib.wtcache_transaction_update, raw, len(raw), data, len(data), lifetime(ttl))

    def remove(self, key: K) -> None:
        """There is to be no record of `key`: as `update`."""
        raw = self._border.key(key)
        self._described(lib.wtcache_transaction_remove, raw, len(raw))

    def invalidate(self, *patterns: str | bytes, prefix: str | bytes | None = None, tag: str | bytes | None = None) -> None:
        """Has keys forgotten once the steps have been applied, or may have been; if nothing was, they stay.

        These are all that match one of `patterns`, begin with `prefix`, or whose records have `tag`.
        """
        if not patterns and prefix is None and tag is None:
            raise TypeError("what is to be forgotten? A pattern, prefix=… or tag=…")
        named = [(lib.wtcache_transaction_invalidate_pattern, pattern) for pattern in patterns]
        named += [(lib.wtcache_transaction_invalidate_prefix, prefix)] if prefix is not None else []
        named += [(lib.wtcache_transaction_invalidate_tag, tag)] if tag is not None else []
        for function, text in named:
            raw = as_bytes(text)
            self._described(function, raw, len(raw))

    @property
    def result(self) -> Transacted | None:
        """What came of it; None where it was not run, or has not ended yet. Never waits, and raises nothing."""
        return self._result

    def _take(self) -> TransactionHandle:
        """The description, to be run: it is over with the block."""
        if self._handle is None:
            raise errors.StateError("a transaction is run once")
        handle, self._handle = self._handle, None
        return handle

    def _ended(self, result: Any) -> None:
        """What came of it; `result` stays."""
        if not result:
            return
        border, ended = self._border, []
        for index in range(lib.wtcache_transacted_step_count(result)):
            step = self._steps[index]
            outcome = StepOutcome(lib.wtcache_transacted_step(result, index))
            error = lib.wtcache_transacted_step_error(result, index)
            undo_error = lib.wtcache_transacted_undo_error(result, index)
            value = step.returned if step.call else border.value_of(lib.wtcache_transacted_entry(result, index))
            ended.append(
                StepResult(
                    outcome,
                    value if outcome is StepOutcome.APPLIED else None,
                    border.exception(error) if error else None,
                    StepOutcome(lib.wtcache_transacted_undo(result, index)),
                    border.exception(undo_error) if undo_error else None,
                )
            )
        doubts: list[Doubt[Any, Any]] = [
            Doubt(DoubtHandle(lib.wtcache_transacted_doubt(result, index)), border)
            for index in range(lib.wtcache_transacted_doubt_count(result))
        ]
        self._result = Transacted(Outcome(lib.wtcache_transacted_end(result)), ended, doubts)

    def _check(self, status: int, result: Any, error: Any) -> int:
        """Takes what a run gave, and raises why it did not commit."""
        try:
            self._ended(result)
        finally:
            lib.wtcache_transacted_free(result)
        return self._border.check(status, error)


class Transaction(Described[K, V]):
    """A transaction: describe it in a `with` block, at whose end it is run.

    An exception in the block runs nothing. Where it did not commit, the end of the block raises: `PartialError`, `InDoubtError`, or the error
    of the step that was refused, which says that nothing of it stands. `result` is what came of each step.

    An optimistic one is shown at the end of the block, all at once, and runs in the background: `wait` tells how it ended.
    """

    def __init__(
        self,
        cache: int,
        border: Border,
        timeout: float | None,
        undo_timeout: float | None,
        optimistic: bool,
    ) -> None:
        super().__init__(cache, border, timeout, undo_timeout)
        self._optimistic = optimistic
        self._started: StartedHandle | None = None

    def __enter__(self) -> Transaction[K, V]:
        return self

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None) -> None:
        handle = self._take()
        if kind is not None:
            return
        error = c_void_p()
        if self._optimistic:
            started = c_void_p()
            self._border.check(lib.wtcache_transaction_start(handle, byref(started), byref(error)), error)
            self._started = StartedHandle(started.value or 0)
        else:
            result = c_void_p()
            self._check(lib.wtcache_transaction_run(handle, byref(result), byref(error)), result, error)

    @property
    def result(self) -> Transacted | None:
        """What came of it; None where it was not run, or has not ended yet. Never waits, and raises nothing."""
        if self._result is None and self._started is not None and self.done():
            result = c_void_p()
            lib.wtcache_started_wait(self._started, 0, byref(result), None)
            self._check(OK, result, None)
        return self._result

    def done(self) -> bool:
        """Whether it has ended. Never waits."""
        if self._started is None:
            return self._result is not None
        return bool(lib.wtcache_started_has_ended(self._started))

    def wait(self, timeout: float | None = None) -> Transacted:
        """Waits for the end of an optimistic one; raises as the end of the block would have, and `NotEndedError` after `timeout` seconds."""
        if self._started is None:
            raise errors.StateError("only what was started in the background can be waited for")

        def once(ms: int) -> int:
            result, error = c_void_p(), c_void_p()
            status = lib.wtcache_started_wait(self._started, ms, byref(result), byref(error))
            return self._check(status, result, error)

        wait(timeout, once)
        if self._result is None:
            raise errors.Error("the transaction was lost by a fault of the library")
        return self._result
