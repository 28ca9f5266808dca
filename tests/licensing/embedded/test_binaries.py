"""The programs of the `embedded` extra, or one sentence that says what to do without it."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest

from licensing.embedded.binaries import postgres_program, valkey_server
from licensing.embedded.errors import EmbeddedError
from licensing.embedded.services import EmbeddedServices


def test_the_programs_are_the_promised_versions() -> None:
    for program, said in ((postgres_program("postgres"), "PostgreSQL) 18."), (valkey_server(), "v=9.")):
        ran = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        assert said in ran.stdout


def test_without_the_extra_it_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)

    with pytest.raises(EmbeddedError, match="install the `embedded` extra, or set DATABASE_URL and VALKEY_URL"):
        EmbeddedServices(tmp_path / "data").start()
