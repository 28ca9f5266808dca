"""PostgreSQL 18 as a foreground child on a unix socket, with three roles and passwords for all of them.

The superuser exists to make the other roles and to look whether the server is up. `keywright_owner` owns the
database and runs migrations; `keywright_web` and `keywright_sign` are granted what they need by the
application's own `grant_roles`.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from licensing.embedded.binaries import POSTGRES_MAJOR, postgres_program
from licensing.embedded.errors import CANNOT_BECOME_ANOTHER, EmbeddedError, cannot, known_symptom
from licensing.embedded.files import sync_directory, write_private
from licensing.embedded.instance import Instance
from licensing.embedded.process import Program, run_to_end
from licensing.embedded.stopping import Stop

DATABASE = "keywright"
SUPERUSER = "keywright_super"
OWNER, WEB, SIGN = "keywright_owner", "keywright_web", "keywright_sign"
ROLES = (OWNER, WEB, SIGN)

_PORT = 5432
_INITDB_TIMEOUT_SECONDS = 300.0
_HBA = "# Written by Keywright: nobody is let in without a password, and only through the socket.\n"
_HBA += "local all all scram-sha-256\n"

_SETTINGS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "effective_cache_size": "1GB",
    "maintenance_work_mem": "64MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "512MB",
    "password_encryption": "scram-sha-256",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # A failing statement's text may hold what must not be in a log.
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
    "logging_collector": "off",
}
_DURABLE = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # Each authenticate commits its audit row. While three others are at it, one waits a moment so that a single write
    # to the disk takes them all: a sixth more of them a second, and none is answered before its row is on the disk.
    "commit_delay": "1000",
    "commit_siblings": "3",
}
_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "autovacuum_naptime": "1h",
}


@dataclass(frozen=True, kw_only=True, repr=False)
class Passwords:
    """One for each role; 256 random bits each."""

    superuser: str
    owner: str
    web: str
    sign: str

    def of(self, role: str) -> str:
        """The password of a role by its name in the database."""
        return {SUPERUSER: self.superuser, OWNER: self.owner, WEB: self.web, SIGN: self.sign}[role]


class Postgres:
    """The embedded PostgreSQL of one installation."""

    def __init__(self, instance: Instance, passwords: Passwords, *, durable: bool) -> None:
        self._instance = instance
        self._passwords = passwords
        self._durable = durable
        self._run_as = _other_user(instance.postgres)

    def prepare(self, stop: Stop) -> None:
        """Make the database directory if there is none, and check that this server can open it.

        Nothing may be running on it: the instance's lock is held and its left-overs are gone.

        Raises:
            EmbeddedError: it is of another major version, or cannot be made.
        """
        directory = self._instance.postgres
        try:
            for half_made in directory.parent.glob(f"{directory.name}.new-*"):
                shutil.rmtree(half_made)
            if not directory.exists():
                self._create(stop)
            self._check_version()
            # No process works in the directory, so this can only be stale; PostgreSQL itself would refuse to
            # start if the id in it happens to be somebody else's by now.
            (directory / "postmaster.pid").unlink(missing_ok=True)
        except OSError as exc:
            raise cannot("prepare the database directory", exc, path=directory) from exc

    def program(self) -> Program:
        """The server as a child process in the foreground."""
        settings = _SETTINGS | (_DURABLE if self._durable else _FAST)
        settings["unix_socket_directories"] = str(self._instance.sockets)
        argv = [str(postgres_program("postgres")), "-D", str(self._instance.postgres)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        return Program(
            name="postgres",
            argv=argv,
            env=self._instance.child_environment(),
            log=self._instance.logs / "postgres.log",
            record=self._instance.run / "postgres.pid",
            run_as=self._run_as,
            death_signal=signal.SIGQUIT,
            # Fast shutdown, then an immediate one.
            stop_steps=((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0)),
        )

    def is_ready(self) -> bool:
        """True once the server answers a statement."""
        try:
            with self._connect_as_superuser("postgres") as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError as exc:
            if "password authentication failed" in str(exc):
                raise EmbeddedError(
                    f"The database in {self._instance.postgres} does not know the passwords kept beside it; "
                    "both must come from the same backup."
                ) from exc
            return False
        return True

    def url(self, role: str) -> str:
        """A libpq URI for a role, the socket's directory percent-encoded as its host."""
        host = quote(str(self._instance.sockets), safe="")
        return f"postgresql://{role}:{quote(self._passwords.of(role), safe='')}@{host}:{_PORT}/{DATABASE}"

    def create_roles_and_database(self) -> None:
        """Make what is missing of the roles and the database; safe after a kill between any two statements.

        Raises:
            EmbeddedError: the server refused.
        """
        try:
            with self._connect_as_superuser("postgres") as connection:
                present = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
                for role in ROLES:
                    if role not in present:
                        self._create_role(connection, role)
                databases = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
                if DATABASE not in databases:
                    statement = sql.SQL("CREATE DATABASE {} OWNER {}")
                    connection.execute(statement.format(sql.Identifier(DATABASE), sql.Identifier(OWNER)))
        except psycopg.Error as exc:
            reason = known_symptom(str(exc)) or str(exc).strip().replace("\n", " / ")
            raise EmbeddedError(f"Cannot make the database: {reason}.") from exc

    def _create_role(self, connection: psycopg.Connection[tuple[object, ...]], role: str) -> None:
        # The verifier, made here: the password itself never travels in a statement.
        verifier = connection.pgconn.encrypt_password(
            self._passwords.of(role).encode(), role.encode(), b"scram-sha-256"
        ).decode()
        # The test suite has its database made by the owner, and again for each of its processes.
        may_create = " CREATEDB CREATEROLE" if role == OWNER and not self._durable else ""
        statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}" + may_create)
        connection.execute(statement.format(sql.Identifier(role), sql.Literal(verifier)))

    def _connect_as_superuser(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host=str(self._instance.sockets),
            port=_PORT,
            user=SUPERUSER,
            password=self._passwords.superuser,
            dbname=database,
            autocommit=True,
            connect_timeout=10,
        )

    def _create(self, stop: Stop) -> None:
        """Make the directory under another name, put it on disk, then give it its name."""
        final = self._instance.postgres
        new = final.with_name(f"{final.name}.new-{secrets.token_hex(4)}")
        password_file = self._instance.run / ".superuser.new"
        passwd_file = self._instance.run / ".passwd.new"
        try:
            new.mkdir(mode=0o700)
            if self._run_as is not None:
                _give(new, self._run_as)
            write_private(password_file, self._passwords.superuser)
            if not _has_name(os.geteuid()):
                write_private(passwd_file, f"keywright:x:{os.geteuid()}:{os.getegid()}::/:/bin/sh\n")
            self._initdb(new, password_file, passwd_file if passwd_file.exists() else None, stop)
            (new / "pg_hba.conf").write_text(_HBA)
            if self._durable:
                _sync(new / "pg_hba.conf")
            new.rename(final)
            sync_directory(final.parent)
        finally:
            password_file.unlink(missing_ok=True)
            passwd_file.unlink(missing_ok=True)
            shutil.rmtree(new, ignore_errors=True)

    def _initdb(self, directory: Path, password_file: Path, passwd: Path | None, stop: Stop) -> None:
        argv = [
            str(postgres_program("initdb")),
            *("-D", str(directory), "-U", SUPERUSER, f"--pwfile={password_file}"),
            *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
            *("--auth-local=scram-sha-256", "--auth-host=scram-sha-256", "--no-instructions"),
        ]
        if not self._durable:
            argv.append("--no-sync")
        program = Program(
            name="initdb",
            argv=argv,
            env=self._instance.child_environment(),
            log=self._instance.logs / "initdb.log",
            record=self._instance.run / "initdb.pid",
            run_as=self._run_as,
            passwd=passwd,
            stop_steps=(),  # killed at once: whatever it has made so far is thrown away
        )
        run_to_end(program, stop=stop, timeout_seconds=_INITDB_TIMEOUT_SECONDS)

    def _check_version(self) -> None:
        directory = self._instance.postgres
        try:
            found = (directory / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            raise EmbeddedError(f"{directory} is not a PostgreSQL database directory.") from None
        if found != str(POSTGRES_MAJOR):
            raise EmbeddedError(
                f"The database in {directory} was made by PostgreSQL {found}; this is PostgreSQL {POSTGRES_MAJOR}: "
                "dump it with the old version and load it into a new data directory."
            )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _give(path: Path, owner: tuple[int, int]) -> None:
    try:
        os.chown(path, *owner)
    except PermissionError as exc:
        raise EmbeddedError(CANNOT_BECOME_ANOTHER.format(name="PostgreSQL")) from exc


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _other_user(directory: Path) -> tuple[int, int] | None:
    """Who PostgreSQL runs as when we are root, since it refuses that; None for ourselves.

    The owner of the database, who was an ordinary user's earlier run perhaps; `nobody` for a new one.
    """
    if os.geteuid() != 0:
        return None
    if directory.exists() and directory.stat().st_uid != 0:
        return directory.stat().st_uid, directory.stat().st_gid
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedError(
            "PostgreSQL does not run as root and this machine has no user `nobody`; run this as an ordinary user."
        ) from None
    return entry.pw_uid, entry.pw_gid
