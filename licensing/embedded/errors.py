"""Failures of starting an installation, each of them one sentence for the person at the terminal."""

from __future__ import annotations

import errno
from pathlib import Path


class EmbeddedError(Exception):
    """Something outside the program's control; `str()` is one clear sentence, without secrets."""


class AlreadyRunning(EmbeddedError):
    """Another process holds the lock of this data directory."""


CANNOT_BECOME_ANOTHER = (
    "{name} cannot run as root, and this machine does not let root hand its rights on to another user; "
    "run this as an ordinary user."
)

_SYMPTOMS = (
    ("No space left on device", "the disk is full"),
    ("Disk quota exceeded", "the disk quota is used up"),
    ("Read-only file system", "the file system is read-only"),
    ("Permission denied", "permission was denied"),
    ("Cannot allocate memory", "the machine has not enough memory"),
    ("could not map anonymous shared memory", "the machine has not enough memory"),
    ("Too many open files", "the limit on open files is too low"),
)

_ERRNO_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission was denied",
    errno.EPERM: "permission was denied",
    errno.EEXIST: "a file of that name is in the way",
    errno.ENOTDIR: "a part of the path is a file, not a directory",
    errno.ENAMETOOLONG: "the path is too long",
}


def known_symptom(output: str) -> str | None:
    """The everyday reason that a program's output names, or None."""
    return next((reason for text, reason in _SYMPTOMS if text in output), None)


def os_error_reason(exc: OSError) -> str:
    """Why a system call failed, in words for a sentence."""
    return _ERRNO_REASONS.get(exc.errno or 0) or exc.strerror or "of an unknown error"


def cannot(action: str, exc: OSError, *, path: Path | str | None = None) -> EmbeddedError:
    """An `EmbeddedError` that says what could not be done, where, and why."""
    where = path if path is not None else exc.filename
    at = f" {where}" if where is not None else ""
    return EmbeddedError(f"Cannot {action}{at}: {os_error_reason(exc)}.")


def last_words(log: Path, *, lines: int = 3, since: int = 0) -> str:
    """The last lines of a child's log written after byte `since`, joined to fit a sentence."""
    try:
        with log.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(since, size - 8192))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
    kept = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(kept[-lines:])
