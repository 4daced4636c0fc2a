"""The exceptions: which was raised says whether the write was applied.

What a source raised itself is the `__cause__`.
"""

from __future__ import annotations

import builtins


class Error(Exception):
    """The root of all. Of a write it means "not applied", but for `InDoubtError`."""

    #: The status of the C library; None where the exception was not made by it.
    status: int | None = None
    #: The source's own code; over HTTP the status of the answer. None where it gave none.
    code: int | None = None
    #: The same call may succeed later with nothing changed.
    retryable: bool = False
    #: When to try again, in seconds; None where nobody said.
    retry_after: float | None = None


class RejectedError(Error):
    """The origin or the source refused the write: it was not applied and never will be.

    A source raises it to say just that: nothing was applied.
    """


class ConflictError(RejectedError):
    """Refused, and what was cached is not the origin's record any more: it was dropped."""


class InDoubtError(Error):
    """Nobody can know whether the write was applied, or still will be.

    Until that is settled, after `retry_after` seconds at the latest, reads ask the origin.
    """


class TimeoutError(Error, builtins.TimeoutError):  # the builtin's name, as an exception of ours
    """The deadline passed; a write was not sent."""


class ClosedError(Error):
    """The cache is closed."""


class SourceError(Error):
    """The source gave no record, and no answer that there is none."""


class OverloadedError(Error):
    """A bound was met, or the key's turn is taken: too much is under way. A write was not sent."""


class ReentrantError(Error):
    """A call from inside the source would wait for itself."""


class ConfigError(Error, ValueError):
    """The cache cannot be opened so; the message names what is wrong."""
