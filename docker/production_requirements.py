"""Prints the lock file without the `embedded` extra: PostgreSQL, Valkey, Go and bubblewrap come otherwise here.

    python docker/production_requirements.py requirements.lock pyproject.toml > production.lock

A package goes if it is one of the extra's, or is there only for packages that go (uv's `# via` comments tell).
Standard library only: this runs before anything is installed.
"""

import re
import sys
import tomllib
from pathlib import Path

_NAME = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==")
_VIA = re.compile(r"^    #(?: via|  ) +(.+)$")


def canonical(name: str) -> str:
    """A package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def entries(lock: str) -> dict[str, list[str]]:
    """The lines of each package in a lock file, by name."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lock.splitlines():
        match = _NAME.match(line)
        if match:
            current = found.setdefault(canonical(match.group(1)), [])
        if match or line.startswith(" "):
            current.append(line)
    return found


def wanted_by(lines: list[str]) -> set[str]:
    """Who asks for a package: names of packages, or of this project."""
    found = (_VIA.match(line) for line in lines)
    return {canonical(match.group(1).split(" ")[0].partition("[")[0]) for match in found if match}


def without_extra(lock: str, extra: set[str]) -> str:
    """The lock file without the packages of `extra` and what only they need."""
    packages = entries(lock)
    dropped = {name for name in packages if name in extra}
    while True:
        orphans = {
            name
            for name, lines in packages.items()
            if name not in dropped and (asking := wanted_by(lines)) and asking <= dropped
        }
        if not orphans:
            break
        dropped |= orphans
    return "".join(f"{line}\n" for name, lines in packages.items() if name not in dropped for line in lines)


def embedded_extra(pyproject: str) -> set[str]:
    """The names of the packages in the `embedded` extra."""
    listed = tomllib.loads(pyproject)["project"]["optional-dependencies"]["embedded"]
    return {canonical(re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]) for requirement in listed}


def main(lock_path: str, pyproject_path: str) -> None:
    """Print what production installs."""
    lock, pyproject = Path(lock_path).read_text(encoding="utf-8"), Path(pyproject_path).read_text(encoding="utf-8")
    sys.stdout.write(without_extra(lock, embedded_extra(pyproject)))


if __name__ == "__main__":
    main(*sys.argv[1:])
