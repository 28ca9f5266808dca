"""The data directory of an installation: its lock, its folders, its sockets, and its left-over processes."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from licensing.embedded import leftovers
from licensing.embedded.errors import AlreadyRunning, EmbeddedError, cannot
from licensing.embedded.files import sweep_half_written, sync_directory, write_private

INSTANCE_MARK = "KEYWRIGHT_INSTANCE"

# sun_path holds 108 bytes with its NUL (unix(7)); the longest name in the directory is `.s.PGSQL.5432`.
_SOCKET_PATH_BYTES = 107
_LONGEST_SOCKET_NAME = "/.s.PGSQL.5432"
# Lower case and nothing to quote: URL parsers fold a host's case, PostgreSQL splits socket paths at commas.
_PLAIN_PATH = re.compile(r"/[a-z0-9/._-]*\Z")


class Instance:
    """One data directory, locked by this process between `open` and `close`."""

    def __init__(self, data_dir: Path) -> None:
        self.root = data_dir.resolve()
        self.secrets = self.root / "secrets"
        self.logs = self.root / "logs"
        self.run = self.root / "run"
        self.postgres = self.root / "postgres"
        self.valkey = self.root / "valkey"
        self.mark = ""
        self.sockets = Path()
        self._lock: int | None = None

    def open(self) -> None:
        """Make the folders, take the lock, and end whatever a killed predecessor left running.

        Raises:
            AlreadyRunning: another process has this data directory.
            EmbeddedError: the directory cannot be used, or something in it cannot be ended.
        """
        if sys.platform != "linux":
            raise EmbeddedError("The embedded services need Linux; set DATABASE_URL and VALKEY_URL instead.")
        try:
            self._make_folders()
            self._take_lock()
        except OSError as exc:
            raise cannot("use the data directory", exc, path=self.root) from exc
        try:
            identity = hashlib.sha256(f"{os.getuid()}:{self.root}".encode("utf-8", "surrogateescape"))
            self.mark = identity.hexdigest()[:16]
            for folder in (self.root, self.secrets, self.run):
                sweep_half_written(folder)
            leftovers.end_all(run=self.run, postgres=self.postgres, mark=f"{INSTANCE_MARK}={self.mark}")
            self._make_socket_directory()
        except OSError as exc:
            self.close()
            raise cannot("use the data directory", exc, path=self.root) from exc
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the sockets and let the lock go; every child must have ended."""
        if self.sockets != Path():
            shutil.rmtree(self.sockets, ignore_errors=True)
            self.sockets = Path()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def build_directory(self) -> Path:
        """Where builds are made. Those of root run as other users, who cannot look into the data directory.

        What is there can be made again; it is kept because the compiler's cache takes a while to make.
        """
        if os.geteuid() != 0:
            return self.root / "builds"
        for base in ("/var/tmp", tempfile.gettempdir()):  # noqa: S108
            path = Path(base) / f"keywright-builds-{self.mark}"
            if Path(base).is_dir() and (not path.exists() or _is_own(path)):
                return path
        return self.root / "builds"

    def child_environment(self) -> dict[str, str]:
        """The environment every child starts from: enough to run, marked as ours, nothing of the caller's.

        The mark lets the next start find processes that a SIGKILL of everything left behind.
        """
        kept = ("PATH", "HOME", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        return environment | {"LC_ALL": "C.UTF-8", INSTANCE_MARK: self.mark}

    def _make_folders(self) -> None:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.secrets, self.logs, self.run, self.valkey):
            folder.mkdir(mode=0o700, exist_ok=True)
        self.secrets.chmod(0o700)
        sync_directory(self.root)

    def _take_lock(self) -> None:
        # Never removed: a lock file that is unlinked can be held by two at once.
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(descriptor)
            if exc.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
                raise AlreadyRunning(f"Keywright is already running on the data directory {self.root}.") from exc
            raise
        self._lock = descriptor

    def _make_socket_directory(self) -> None:
        """Make a short, private directory for the sockets, the same at every start unless somebody sits there."""
        remembered = self.run / "sockets"
        if remembered.exists():
            previous = Path(remembered.read_text(encoding="utf-8"))
            if _is_private(previous) and self.mark in previous.name:
                shutil.rmtree(previous, ignore_errors=True)
        for candidate in self._socket_candidates():
            try:
                candidate.mkdir(mode=0o700)
            except FileExistsError:
                if not _is_private(candidate):
                    continue  # another user's, or a link: not to be trusted, not to be touched
                # Kept, not made again: in between, somebody else could make it.
                for stale in candidate.iterdir():
                    stale.unlink()
            except OSError:
                continue
            self.sockets = candidate
            write_private(remembered, str(candidate))
            return
        raise EmbeddedError("Cannot find a short, writable directory for unix sockets; set TMPDIR to one.")

    def _socket_candidates(self) -> Iterator[Path]:
        bases = [tempfile.gettempdir(), "/tmp", os.environ.get("XDG_RUNTIME_DIR", ""), str(self.run)]  # noqa: S108
        for suffix in ("", f"-{os.urandom(4).hex()}"):
            for base in bases:
                path = f"{base}/keywright-{self.mark}{suffix}"
                if _PLAIN_PATH.match(path) and len(path + _LONGEST_SOCKET_NAME) <= _SOCKET_PATH_BYTES:
                    yield Path(path)


def _is_own(path: Path) -> bool:
    """True if `path` is a directory of ours that nobody else can write to."""
    info = path.lstat()
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid() and not info.st_mode & 0o022


def _is_private(path: Path) -> bool:
    """True if `path` is a directory of ours that nobody else can enter."""
    try:
        info = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid() and not info.st_mode & 0o077
