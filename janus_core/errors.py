"""Every error that Janus raises on purpose.

An error says what went wrong (`message`) and what to do about it (`hint`).
`code` is stable and machine-readable; how it is coloured and which exit code
it becomes is decided by the face that shows it (`janus_cli.report`).
"""

from __future__ import annotations

from typing import ClassVar


class JanusError(Exception):
    """Base of all expected failures."""

    code: ClassVar[str] = "failure"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidInput(JanusError):
    """What the caller asked for makes no sense; asking again will not help."""

    code = "invalid_input"


class NotFound(JanusError):
    """The named document, collection, job or model does not exist."""

    code = "not_found"


class NotInitialised(JanusError):
    """Janus was never brought up here."""

    code = "not_initialised"


class Locked(JanusError):
    """Another process holds what this one needs."""

    code = "locked"


class WrongPassword(JanusError):
    """A repository or service refused the password."""

    code = "wrong_password"


class NoSpace(JanusError):
    """A disk is full or too small."""

    code = "no_space"


class Damaged(JanusError):
    """A checksum, hash chain or file format does not hold."""

    code = "damaged"


class TooNew(JanusError):
    """The data was made by a newer Janus than this one."""

    code = "too_new"


class StoreUnavailable(JanusError):
    """A store, queue or cache does not answer."""

    code = "store_unavailable"


class ModelUnavailable(JanusError):
    """The chat or embedding model cannot be reached or loaded."""

    code = "model_unavailable"


class BadConfiguration(JanusError):
    """A setting, path or permission makes it impossible to run."""

    code = "bad_configuration"


class UnreadableDocument(JanusError):
    """A document cannot be turned into text. Permanent: a retry gives the same."""

    code = "unreadable_document"


class TransientFailure(JanusError):
    """A step failed for a reason that may pass; the job is tried again."""

    code = "transient_failure"
