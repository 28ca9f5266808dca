"""`check --deploy`: each rule fires on the configuration it is there for, and on no good one."""

import base64
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from licensing.core.role_secrets import ROLES, SECRETS, required_secrets
from licensing.crypto.sealing import new_versioned_key
from tests.deployment import findings

ROOT = Path(__file__).resolve().parents[2]
GRANIAN = Path(sys.executable).with_name("granian")


def secret_file(folder: Path, name: str, value: str, mode: int = 0o400) -> str:
    path = folder / name.lower()
    path.write_text(value)
    path.chmod(mode)
    return str(path)


@pytest.fixture
def production(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Build the whole environment of a production process of a role, with changes: a value, or None to leave it out."""

    def build(role: str, **changes: str | None) -> dict[str, str]:
        environment: dict[str, str] = {
            "PATH": os.environ["PATH"],
            "KEYWRIGHT_ENV": "production",
            "KEYWRIGHT_ROLE": role,
            "PUBLIC_URL": "https://licenses.vendor.example",
            "TRUSTED_PROXIES": "172.28.0.0/24",
            "DATABASE_URL_FILE": secret_file(tmp_path, "DATABASE_URL", "postgresql://keywright_web:s3@db/keywright"),
            "VALKEY_URL": "redis://valkey:6379/0",
        }
        for name in required_secrets(role):
            value = "0a1B2c3D4e5F6g7H8i9J-" * 3 if name == "DJANGO_SECRET_KEY" else new_versioned_key()
            environment[f"{name}_FILE"] = secret_file(tmp_path, name, value)
        for name, change in changes.items():
            environment.pop(name, None)
            if change is not None:
                environment[name] = change
        return environment

    return build


def run_check(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("role", ROLES)
def test_no_role_has_a_finding_when_it_is_configured_well(
    role: str, production: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert findings(production(role), monkeypatch) == []


@pytest.mark.parametrize("role", ["web", "sign"])
def test_the_command_passes_a_good_production_configuration(
    role: str, production: Callable[..., dict[str, str]]
) -> None:
    result = run_check(production(role))
    assert result.returncode == 0, result.stderr
    assert "no issues" in result.stdout


def weak_key() -> str:
    return "1:" + base64.b64encode(b"k" * 32).decode()


@pytest.mark.parametrize(
    ("role", "changes", "expected"),
    [
        ("web", {"KEYWRIGHT_ENV": "development"}, ["keywright.E001"]),
        ("web", {"DEBUG": "true"}, ["keywright.E002", "security.W018"]),
        ("web", {"KEYWRIGHT_EMBEDDED": "true"}, ["keywright.E003"]),
        ("web", {"KEK_AUTH_FILE": None}, ["keywright.E004"]),
        ("web", {"API_KEY_PEPPERS_FILE": None}, ["keywright.E004"]),
        ("web", {"DATABASE_URL_FILE": None}, ["keywright.E004"]),
        ("sign", {"KEK_ARTIFACTS_FILE": None}, ["keywright.E004"]),
        ("web", {"KEK_ARTIFACTS": new_versioned_key()}, ["keywright.E005", "keywright.W001"]),
        ("owner", {"KEK_ARTIFACTS": new_versioned_key()}, ["keywright.E005", "keywright.W001"]),
        ("build", {"KEK_BUILDS": new_versioned_key()}, ["keywright.E005", "keywright.W001"]),
        ("web", {"DJANGO_SECRET_KEY_FILE": None, "DJANGO_SECRET_KEY": "a" * 60}, ["keywright.E006", "keywright.W001"]),
        ("web", {"KEK_WEB_FILE": None, "KEK_WEB": "1:c2hvcnQ="}, ["keywright.E007", "keywright.W001"]),
        ("web", {"KEK_WEB_FILE": None, "KEK_WEB": weak_key()}, ["keywright.E007", "keywright.W001"]),
        ("web", {"PUBLIC_URL": "http://licenses.vendor.example"}, ["keywright.E008"]),
        ("web", {"ALLOWED_HOSTS": "*"}, ["keywright.E009"]),
        ("web", {"TRUSTED_PROXIES": None}, ["keywright.E010"]),
        ("web", {"TRUSTED_PROXIES": "0.0.0.0/0"}, ["keywright.E011"]),
        ("web", {"KEK_TOKENS_FILE": None, "KEK_TOKENS": new_versioned_key()}, ["keywright.W001"]),
        ("web", {"VALKEY_URL": "redis://:pass@valkey:6379/0"}, ["keywright.W001"]),
    ],
)
def test_each_rule_fires(
    role: str,
    changes: dict[str, str | None],
    expected: list[str],
    production: Callable[..., dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = findings(production(role, **changes), monkeypatch)
    assert {item.id for item in found if (item.id or "").startswith("keywright.") or item.id in expected} == set(
        expected
    )
    assert all(item.hint for item in found if (item.id or "").startswith("keywright."))


def test_the_command_refuses_an_unsafe_configuration(production: Callable[..., dict[str, str]]) -> None:
    result = run_check(production("web", PUBLIC_URL="http://licenses.vendor.example"))
    assert result.returncode == 1
    assert "(keywright.E008)" in result.stderr
    assert "HINT: Set PUBLIC_URL" in result.stderr


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o600 | 0o040, 0o644])
def test_a_key_file_that_others_can_read_is_an_error(
    mode: int, production: Callable[..., dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    path = secret_file(folder, "KEK_AUTH", new_versioned_key(), mode)
    found = findings(production("web", KEK_AUTH_FILE=path), monkeypatch)
    assert [(item.id, item.msg) for item in found] == [
        ("keywright.E012", "The file of KEK_AUTH can be read by other users.")
    ]


def test_no_finding_shows_a_secret(production: Callable[..., dict[str, str]]) -> None:
    secrets = {"KEK_WEB": "1:bm90IHRoaXJ0eS10d28=", "DJANGO_SECRET_KEY": "short-and-secret", "KEK_ARTIFACTS": "1:zzz"}
    environment = production("web", KEK_WEB_FILE=None, DJANGO_SECRET_KEY_FILE=None, **secrets)
    output = run_check(environment)
    assert output.returncode == 1
    for value in secrets.values():
        assert value not in output.stdout + output.stderr


def test_two_purposes_do_not_share_a_key(
    production: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = production("web")
    environment["KEK_BUILDS_FILE"] = environment["KEK_AUTH_FILE"]
    found = findings(environment, monkeypatch)
    assert [(item.id, item.msg) for item in found] == [("keywright.E007", "KEK_BUILDS and KEK_AUTH share a key.")]


def test_only_sign_is_given_the_artifacts_key_and_build_is_given_nothing() -> None:
    assert [role for role in ROLES if "KEK_ARTIFACTS" in required_secrets(role)] == ["sign"]
    assert required_secrets("build") == frozenset()
    assert all(required_secrets(role) <= SECRETS for role in ROLES)


# -- a process that lacks its secrets does not start


def start(arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"KEK_TOKENS_FILE": None}, "A process of role `web` needs KEK_TOKENS: set each, or name its file"),
        ({"KEK_AUTH_FILE": None, "KEK_AUTH": "1:AAAA"}, "KEK_AUTH: version 1: a key is 32 bytes, this one is 3."),
        ({"DATABASE_URL_FILE": None, "DATABASE_URL": "not an address"}, "DATABASE_URL is not an address"),
    ],
)
def test_web_stops_with_one_sentence(
    changes: dict[str, str | None], sentence: str, production: Callable[..., dict[str, str]]
) -> None:
    arguments = [sys.executable, "-c", "import licensing.wsgi"]
    result = start(arguments, production("web", **changes))
    assert result.returncode == 1
    assert result.stderr.startswith(sentence)
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_granian_ends_when_its_workers_lack_their_secrets(production: Callable[..., dict[str, str]]) -> None:
    command = [str(GRANIAN), "--interface", "wsgi", "--uds", "{uds}", "licensing.wsgi:application"]
    environment = production("web", KEK_TOKENS_FILE=None)
    socket = Path(environment["DATABASE_URL_FILE"]).with_name("s")
    result = start([part.format(uds=socket) for part in command], environment)
    assert result.returncode == 1
    assert "needs KEK_TOKENS" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_worker_stops_with_one_sentence(production: Callable[..., dict[str, str]]) -> None:
    command = [sys.executable, "-m", "celery", "-A", "licensing", "worker", "-Q", "sign", "--pool", "solo"]
    result = start(command, production("sign", KEK_ARTIFACTS_FILE=None))
    assert result.returncode == 1
    assert "needs KEK_ARTIFACTS" in result.stderr
    assert "Traceback" not in result.stderr
