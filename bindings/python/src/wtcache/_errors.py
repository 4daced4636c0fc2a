"""The exceptions: which was raised says whether the write was applied.

What a source raised itself is the `__cause__`.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._border import Entry
    from ._doubt import Doubt


@dataclass(frozen=True)
class OriginAnswer:
    """What an HTTP origin answered in place of what was asked for. Its status is the `code` of the error."""

    #: The body, decoded, of at most 64 KiB. Of a `ConflictError` the record as it stands there, where the origin sends that.
    body: bytes
    #: As the origin named it; None where it did not.
    content_type: str | None
    #: The ETag, for another `put_if`; None where it gave none.
    version: bytes | None
    #: The body is longer than this, or ended early, or could not be decoded.
    truncated: bool


class Error(Exception):
    """The root of all.

    Of a write it means "not applied", but for `InDoubtError`, and for those that tell of many: `PartialError` and `ManyError`.
    """

    #: The status of the C library; None where the exception was not made by it.
    status: int | None = None
    #: The source's own code; over HTTP the status of the answer. None where it gave none.
    code: int | None = None
    #: The same call may succeed later with nothing changed.
    retryable: bool = False
    #: When to try again, in seconds; None where nobody said.
    retry_after: float | None = None
    #: What the HTTP origin answered; None where it answered nothing, or the source is another.
    answer: OriginAnswer | None = None


class RejectedError(Error):
    """The origin or the source refused the write: it was not applied and never will be.

    A source raises it to say just that: nothing was applied.
    """


class ConflictError(RejectedError):
    """Refused, since the record is not what the write took it for. Where the origin said so, what was cached was dropped."""


class UnmetError(ConflictError):
    """What a write expected of the existing record does not hold here: it was not sent, and nothing has changed."""

    #: The record that is there; None where there is none.
    existing: Entry[Any] | None = None


class InDoubtError(Error):
    """Nobody can know whether the write was applied, or still will be.

    Until that is settled, after `retry_after` seconds at the latest, reads ask the origin.
    """

    #: The handle on the write: wait for the end, send it again, or say what became of it. Of a transaction None: its result has them all.
    #: Of `create` None: no key is known that could be in doubt.
    doubt: Doubt[Any, Any] | None = None


class PartialError(Error):
    """A transaction: a step was refused after others had been applied that are not all undone. Its result says what came of each."""


class ManyError(Error):
    """Some of many keys failed; the `__cause__` is the error of the first."""

    def __init__(self, message: str, values: dict[Any, Any] | None = None, errors: dict[Any, Error] | None = None) -> None:
        super().__init__(message)
        #: What the call would have returned, of the keys that did not fail.
        self.values: dict[Any, Any] = values or {}
        #: Why the others failed: of each what a call for it alone would have raised.
        self.errors: dict[Any, Error] = errors or {}


class TimeoutError(Error, builtins.TimeoutError):  # the builtin's name, as an exception of ours
    """The deadline passed; a write was not sent."""


class NotEndedError(Error, builtins.TimeoutError):
    """What was waited for had not ended by the timeout. It goes on."""


class CancelledError(Error):
    """The write was taken back before it was sent."""


class ClosedError(Error):
    """The cache is closed."""


class SourceError(Error):
    """The source gave no record, and no answer that there is none."""


class OverloadedError(Error):
    """A bound was met, or the key's turn is taken: too much is under way. A write was not sent."""


class ReentrantError(Error):
    """A call from inside the source would wait for itself, or use a permit that is in use."""


class StateError(Error):
    """Something was used out of its order, such as a transaction that was run before. Nothing was done."""


class ArgumentError(Error, ValueError):
    """An argument has no such value. Nothing was done."""


class ConfigError(Error, ValueError):
    """The cache cannot be opened so; the message names what is wrong."""


#: By the library's status.
CLASSES: dict[int, type[Error]] = {
    -1: ArgumentError,
    -2: ConfigError,
    -4: ClosedError,
    -5: TimeoutError,
    -6: SourceError,
    -7: RejectedError,
    -8: ConflictError,
    -9: InDoubtError,
    -10: OverloadedError,
    -11: OverloadedError,
    -12: ReentrantError,
    -13: OverloadedError,
    -18: CancelledError,
    -19: UnmetError,
    -20: StateError,
    -21: PartialError,
}
