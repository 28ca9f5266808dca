"""The secrets of an installation: made once, private, and given to those who need them."""

from __future__ import annotations

import base64
import json
import shlex
import stat
import subprocess
from pathlib import Path

import pytest

from licensing.crypto.keys import parse_key
from licensing.crypto.sealing import KeyRing, Peppers
from licensing.embedded import files
from licensing.embedded.environment import (
    ROLES,
    process_environment,
    role_settings,
    store_urls,
    write_shell_file,
)
from licensing.embedded.errors import EmbeddedError
from licensing.embedded.instance import Instance
from licensing.embedded.secrets import (
    INSTALLATION_SECRETS,
    ensure_database_passwords,
    ensure_demo_secrets,
    ensure_installation_secrets,
    secret_path,
)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_every_secret_is_what_its_reader_expects(tmp_path: Path) -> None:
    ensure_installation_secrets(tmp_path, database_exists=False)

    made = contents(tmp_path)
    assert len(made["django_secret_key"]) >= 50
    assert Peppers.parse(made["api_key_peppers"]).versions == (1,)
    for purpose in ("auth", "builds", "tokens", "web", "artifacts"):
        assert KeyRing.parse(made[f"kek_{purpose}"], purpose=purpose).versions == (1,)
    assert len(set(made.values())) == len(made)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        ensure_installation_secrets(tmp_path, database_exists=False)
        ensure_database_passwords(tmp_path, database_exists=False)
        ensure_demo_secrets(tmp_path)
        first = contents(tmp_path)
    assert contents(tmp_path) == first


def test_a_kill_half_way_is_made_good_without_touching_what_exists(tmp_path: Path) -> None:
    ensure_installation_secrets(tmp_path, database_exists=False)
    before = contents(tmp_path)
    secret_path(tmp_path, "KEK_WEB").unlink()
    ensure_installation_secrets(tmp_path, database_exists=False)

    after = contents(tmp_path)
    assert after.pop("kek_web") != before.pop("kek_web")
    assert after == before


@pytest.mark.parametrize("setting", sorted(INSTALLATION_SECRETS))
def test_a_secret_that_a_database_depends_on_is_never_made_anew(tmp_path: Path, setting: str) -> None:
    ensure_installation_secrets(tmp_path, database_exists=False)
    path = secret_path(tmp_path, setting)
    path.unlink()

    with pytest.raises(EmbeddedError, match=f"{path.name} is missing, but its database exists"):
        ensure_installation_secrets(tmp_path, database_exists=True)
    assert not path.exists()


def test_the_demos_secrets_are_usable(tmp_path: Path) -> None:
    demo = json.loads(ensure_demo_secrets(tmp_path).read_text())

    assert parse_key(demo["operator"]["api_key"], {"kmop"}) is not None
    assert set(demo["customers"]) == {"cust_123", "enterprise_456"}
    for customer in demo["customers"].values():
        assert parse_key(customer["api_key"], {"km_live"}) is not None
        assert len(base64.b64decode(customer["build_secret"], validate=True)) == 32
        assert len(customer["admin_password"]) >= 16


def test_a_write_that_fails_leaves_the_old_content_and_no_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "secret"
    files.write_private(target, "old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_private(target, "new")
    assert contents(tmp_path) == {"secret": "old"}


def test_a_disk_that_refuses_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(EmbeddedError, match=r"Cannot keep a secret in .*: the disk is full\.$"):
        ensure_installation_secrets(tmp_path, database_exists=False)


@pytest.mark.parametrize("role", ROLES)
def test_each_role_is_told_its_own_files_and_no_value(tmp_path: Path, role: str) -> None:
    ensure_installation_secrets(tmp_path, database_exists=False)
    store_urls(tmp_path, {"database_web": "postgresql://w", "database_sign": "s", "database_owner": "o"})
    settings = role_settings(tmp_path, role, public_url="http://127.0.0.1:1", is_embedded=True)

    assert ("KEK_ARTIFACTS_FILE" in settings) == (role == "sign")
    assert Path(settings["DATABASE_URL_FILE"]).name == {
        "owner": "database_owner_url",
        "sign": "database_sign_url",
    }.get(role, "database_web_url")
    assert not set(contents(tmp_path).values()) & set(settings.values())


def test_the_callers_own_secrets_do_not_reach_a_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KEK_ARTIFACTS", "KEK_WEB_FILE", "DATABASE_OWNER_URL", "CELERY_BROKER_URL", "PGOPTIONS"):
        monkeypatch.setenv(name, "the caller's")
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    settings = role_settings(tmp_path, "web", public_url="http://127.0.0.1:1", is_embedded=True)
    environment = process_environment(Instance(tmp_path), settings)

    assert "the caller's" not in environment.values()
    assert environment["LOG_LEVEL"] == "DEBUG"


def test_the_shell_file_survives_any_path(tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s "$HOME" `id`'
    folder.mkdir()
    settings = role_settings(folder, "web", public_url="http://127.0.0.1:1", is_embedded=True)
    write_shell_file(folder / "env", settings)

    script = f"set -a; . {shlex.quote(str(folder / 'env'))}; set +a; env -0"
    ran = subprocess.run(["sh", "-ec", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=True)
    seen = dict(entry.split("=", 1) for entry in ran.stdout.decode().split("\0") if entry)
    assert {name: seen[name] for name in settings} == settings
