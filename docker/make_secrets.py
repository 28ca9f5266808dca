"""Makes the files that compose.yaml's secrets name: `python3 docker/make_secrets.py docker/secrets`.

What exists is never replaced, so it can be run again. Run it as root, and each file belongs to the user that reads it
in its container; otherwise it prints the commands to do that. Standard library only, Python 3.11 or newer.
"""

import base64
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

KEYWRIGHT_UID = 10001
POSTGRES_UID = 999
VALKEY_UID = 999

_KEY_LISTS = ("api_key_peppers", "kek_auth", "kek_builds", "kek_tokens", "kek_web", "kek_artifacts")
_DATABASE_ROLES = ("owner", "web", "sign")


class Secrets:
    """One folder of secrets; each is a file of mode 400."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.owners: dict[str, int] = {}

    def ensure(self, name: str, make: Callable[[], str], *, uid: int = KEYWRIGHT_UID) -> str:
        """Read a secret, made first if it does not exist."""
        path = self._folder / name
        self.owners[name] = uid
        if not path.exists():
            self._write(path, make())
        if os.geteuid() == 0:
            os.chown(path, uid, uid)
        return path.read_text(encoding="ascii").rstrip("\n")

    def _write(self, path: Path, text: str) -> None:
        # Whole or not at all: a half-written key would be believed on the next run.
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(text + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        new.rename(path)


def make(folder: Path) -> Secrets:
    """Make every secret that is missing in `folder`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Secrets(folder)
    made.ensure("django_secret_key", lambda: secrets.token_urlsafe(48))
    for name in _KEY_LISTS:
        made.ensure(name, lambda: f"1:{base64.b64encode(secrets.token_bytes(32)).decode()}")
    made.ensure("postgres_password", lambda: secrets.token_hex(32), uid=POSTGRES_UID)
    for role in _DATABASE_ROLES:
        password = made.ensure(f"database_{role}_password", lambda: secrets.token_hex(32), uid=POSTGRES_UID)
        url = f"postgresql://keywright_{role}:{password}@postgres:5432/keywright"
        made.ensure(f"database_{role}_url", lambda url=url: url)
    password = made.ensure("valkey_password", lambda: secrets.token_hex(32))
    made.ensure("valkey_url", lambda: f"redis://:{password}@valkey:6379/0")
    made.ensure("valkey_conf", lambda: _valkey_configuration(password), uid=VALKEY_UID)
    return made


def _valkey_configuration(password: str) -> str:
    lines = ("bind * -::*", "port 6379", "dir /data", "appendonly yes", "maxmemory-policy noeviction")
    return "\n".join([*lines, f"requirepass {password}"])


def main(folder: str) -> int:
    """Make them, and say what is left to do."""
    os.umask(0o077)
    made = make(Path(folder))
    print(f"{len(made.owners)} secrets are in {folder}. Back them up apart from the database.")
    if os.geteuid() != 0:
        for uid in sorted(set(made.owners.values())):
            names = " ".join(sorted(name for name, owner in made.owners.items() if owner == uid))
            print(f"(cd {folder} && sudo chown {uid}:{uid} {names})")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_secrets.py FOLDER")
    sys.exit(main(sys.argv[1]))
