"""Rotating key-encryption keys, peppers and signing keys: nothing is lost, and nobody waits for it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import BinaryField
from django.test import Client, override_settings
from psycopg.conninfo import make_conninfo

from accounts.keyrings import peppers, ring
from accounts.models import ApiKey, OperatorKey, User
from accounts.sealed_columns import SealedColumn, SealedMember, declared_columns
from accounts.services import rotation
from accounts.services.operators import issue_operator_key
from accounts.services.rotation import peppered_columns, repepper, reseal, sealed_versions
from licensing.core.models import AuditEvent
from licensing.core.role_secrets import KEY_PURPOSES
from licensing.core.workers import workers_seen
from licensing.crypto import keys
from licensing.crypto.sealing import KeyRing, new_versioned_key
from licensing.models import SignedKeySet, SigningKey
from licensing.services import key_lifecycle
from tests.licensing.rotation_cast import ACTOR, Holder, load_holders

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def holders(db: None) -> list[Holder]:
    return load_holders()


@pytest.fixture
def committed_holders(transactional_db: None) -> list[Holder]:
    return load_holders()


@contextmanager
def kek(purpose: str, text: str) -> Iterator[None]:
    """This process as it is after a restart with another list of keys for one purpose."""
    with override_settings(KEY_ENCRYPTION_KEYS={**settings.KEY_ENCRYPTION_KEYS, purpose: text}):
        yield


def two_versions(purpose: str) -> tuple[str, str]:
    """A new current key before the configured one, and the new one alone."""
    new = new_versioned_key(2)
    return f"{new},{settings.KEY_ENCRYPTION_KEYS[purpose]}", new


def opened(column: SealedColumn) -> dict[str, bytes]:
    """The plaintexts of a column by primary key, under the present configuration."""
    rows = column.model._default_manager.values_list("pk", column.column)
    keys_of_purpose = ring(column.purpose)
    return {
        str(pk): keys_of_purpose.unseal(bytes(sealed), identity=column.identity(str(pk)))
        for pk, sealed in rows
        if sealed
    }


def manage(*arguments: str) -> str:
    output = StringIO()
    call_command(*arguments, stdout=output)
    return output.getvalue()


# -- the register


def test_every_sealed_column_is_declared() -> None:
    sealed = {
        (model._meta.label, column.name)
        for model in apps.get_models()
        for column in model._meta.get_fields()
        if isinstance(column, BinaryField) and column.name.startswith("sealed_")
    }
    declared = [column for column in declared_columns() if not isinstance(column, SealedMember)]
    assert {(column.model._meta.label, column.column) for column in declared} == sealed
    assert {column.purpose for column in declared_columns()} <= set(KEY_PURPOSES)


@pytest.mark.django_db
def test_declared_identities_open_what_the_services_sealed(holders: list[Holder]) -> None:
    operator = User.objects.create_user("ops@vendor.example", is_staff=True)
    issue_operator_key(user=operator, name="ops", actor=ACTOR)
    columns = [column for column in declared_columns() if column.model._meta.app_label in ("accounts", "licensing")]
    filled = {str(column): len(opened(column)) for column in columns}
    assert filled["api_key.sealed_root"] == filled["api_key.sealed_fingerprint"] == 3
    assert filled["operator_key.sealed_fingerprint"] == 1
    assert filled["signing_key.sealed_private_key"] == 2
    assert filled["certificate.sealed_private_key"] >= 2


# -- key-encryption keys


@pytest.mark.django_db
@pytest.mark.parametrize("purpose", ["auth", "builds", "tokens", "artifacts"])
def test_reseal_brings_every_row_under_the_new_key(purpose: str, holders: list[Holder]) -> None:
    columns = declared_columns(purpose)
    before = [opened(column) for column in columns]
    rows = sum(map(len, before))
    both, new_alone = two_versions(purpose)
    with kek(purpose, both):
        assert sum(sealed_versions(column, ring(purpose)).total() for column in columns) == rows > 0
        report = reseal(purpose=purpose, actor=ACTOR)
        assert (report.rewritten, report.is_complete) == (rows, True)
        assert reseal(purpose=purpose, actor=ACTOR).rewritten == 0
    with kek(purpose, new_alone):
        assert [opened(column) for column in columns] == before


@pytest.mark.django_db
def test_a_retired_keys_empty_bytes_are_left_alone(holders: list[Holder]) -> None:
    SigningKey.objects.filter(purpose="lease").update(state="retired", sealed_private_key=b"")
    with kek("tokens", two_versions("tokens")[0]):
        assert reseal(purpose="tokens", actor=ACTOR).is_complete
    assert bytes(SigningKey.objects.get(purpose="lease").sealed_private_key) == b""


@pytest.mark.django_db
def test_a_killed_run_is_taken_up_where_it_ended(holders: list[Holder], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "BATCH_ROWS", 1)
    before = {str(column): opened(column) for column in declared_columns("auth")}

    def die_at_the_second(_column: str, rows: int) -> None:
        if rows == 2:
            raise KeyboardInterrupt

    with kek("auth", two_versions("auth")[0]):
        with pytest.raises(KeyboardInterrupt):
            reseal(purpose="auth", actor=ACTOR, progress=die_at_the_second)
        left = sum(sealed_versions(column, ring("auth")).total() for column in declared_columns("auth"))
        assert left == 4
        assert {str(column): opened(column) for column in declared_columns("auth")} == before
        assert reseal(purpose="auth", actor=ACTOR).rewritten == 4
        assert {str(column): opened(column) for column in declared_columns("auth")} == before
    actions = list(AuditEvent.objects.filter(action__startswith="kek.").order_by("id").values_list("action", flat=True))
    assert actions == ["kek.rotation_started", "kek.rotation_started", "kek.rotation_ended"]


@pytest.mark.django_db
def test_a_row_that_does_not_open_is_named_and_holds_up_no_other(holders: list[Holder]) -> None:
    broken = holders[0].api_key.pk
    sealed = bytearray(ApiKey.objects.values_list("sealed_root", flat=True).get(pk=broken))
    sealed[-1] ^= 1
    ApiKey.objects.filter(pk=broken).update(sealed_root=bytes(sealed))
    with kek("auth", two_versions("auth")[0]):
        with pytest.raises(CommandError, match="Keep the old versions of KEK_AUTH"):
            manage("rotate_kek", "auth")
        report = reseal(purpose="auth", actor=ACTOR)
    assert report.unreadable == [f"api_key.sealed_root {broken}"]
    assert report.remaining == {1: 1}


@pytest.mark.django_db
def test_what_a_process_not_yet_restarted_seals_is_reported(holders: list[Holder]) -> None:
    late = KeyRing.parse(settings.KEY_ENCRYPTION_KEYS["auth"], purpose="auth")
    with kek("auth", two_versions("auth")[0]):
        assert "the old ones can be taken out" in manage("rotate_kek", "auth")
        root = late.seal(b"r" * 32, identity=f"api_key.root:{holders[0].api_key.pk}")
        ApiKey.objects.filter(pk=holders[0].api_key.pk).update(sealed_root=root)
        (column,) = (column for column in declared_columns("auth") if str(column) == "api_key.sealed_root")
        assert sealed_versions(column, ring("auth")) == {1: 1}
        assert reseal(purpose="auth", actor=ACTOR).rewritten == 1


@pytest.mark.django_db
def test_rotate_kek_says_so_when_this_process_lacks_the_key(holders: list[Holder]) -> None:
    with kek("artifacts", ""), pytest.raises(CommandError, match="KEK_ARTIFACTS is not set"):
        manage("rotate_kek", "artifacts")


@pytest.mark.django_db(transaction=True)
def test_nothing_written_beside_a_running_reseal_is_lost(
    committed_holders: list[Holder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "BATCH_ROWS", 1)
    old_ring = KeyRing.parse(settings.KEY_ENCRYPTION_KEYS["auth"], purpose="auth")
    written: dict[str, bytes] = {}
    both, _ = two_versions("auth")
    begun, stop = threading.Event(), threading.Event()

    def write() -> None:
        """Writers beside it: one process restarted with the new key, one not yet."""
        turn = 0
        while not stop.is_set() or turn < 30:
            pk = committed_holders[turn % 3].api_key.pk
            plaintext = os.urandom(32)
            sealing = old_ring if turn % 2 else ring("auth")
            sealed = sealing.seal(plaintext, identity=f"api_key.root:{pk}")
            ApiKey.objects.filter(pk=pk).update(sealed_root=sealed)
            written[pk] = plaintext
            turn += 1
            begun.set()

    def rotate() -> None:
        begun.wait(5)
        for _ in range(10):
            reseal(purpose="auth", actor=ACTOR)

    with kek("auth", both):
        run_in_threads(write, stop, rotate, rotate)
        reseal(purpose="auth", actor=ACTOR)
        (column,) = (column for column in declared_columns("auth") if str(column) == "api_key.sealed_root")
        assert opened(column) == written
        assert not sealed_versions(column, ring("auth"))


def run_in_threads(writer: Callable[[], None], stop: threading.Event, *others: Callable[[], None]) -> None:
    failures: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as exc:  # noqa: BLE001  shown by the assertion below
            failures.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=guarded, args=(work,)) for work in (writer, *others)]
    for thread in threads:
        thread.start()
    for thread in threads[1:]:
        thread.join()
    stop.set()
    threads[0].join()
    assert failures == []


# -- peppers


@pytest.mark.django_db
def test_keys_authenticate_before_during_and_after_a_pepper_rotation(
    holders: list[Holder], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "BATCH_ROWS", 1)
    new = new_versioned_key(2)
    seen: list[list[int]] = []

    def meanwhile(_column: str, _rows: int) -> None:
        seen.append([holder.authenticate(client) for holder in holders])

    with override_settings(API_KEY_PEPPERS=f"{new},{settings.API_KEY_PEPPERS}"):
        meanwhile("", 0)
        report = repepper(actor=ACTOR, progress=meanwhile)
        assert (report.rewritten, report.is_complete) == (3, True)
    with override_settings(API_KEY_PEPPERS=new):
        meanwhile("", 0)
    assert seen == [[200, 200, 200]] * 5
    assert [holder.authenticate(client) for holder in holders] == [
        503,
        503,
        503,
    ]  # the old pepper alone: whose they are is unknown, not wrong


@pytest.mark.django_db
def test_operators_keys_get_the_new_pepper_too(holders: list[Holder]) -> None:
    operator = User.objects.create_user("ops@vendor.example", is_staff=True)
    issued = issue_operator_key(user=operator, name="ops", actor=ACTOR)
    with override_settings(API_KEY_PEPPERS=f"{new_versioned_key(7)},{settings.API_KEY_PEPPERS}"):
        assert "4 rows were brought under the current version of API_KEY_PEPPERS" in manage("rotate_pepper")
        version, digest = peppers().digest(keys.fingerprint(issued.key))
    row = OperatorKey.objects.get(pk=issued.operator_key.pk)
    assert (row.pepper_version, bytes(row.digest)) == (version, digest) == (7, digest)


def test_every_model_with_a_peppered_digest_can_be_rotated() -> None:
    models = {column.model for column in peppered_columns()}
    assert {ApiKey, OperatorKey} <= models


@pytest.mark.django_db
def test_rotate_pepper_reports_a_fingerprint_that_does_not_open(holders: list[Holder]) -> None:
    ApiKey.objects.filter(pk=holders[0].api_key.pk).update(sealed_fingerprint=b"\x01\x00\x01" + bytes(60))
    peppers_text = f"{new_versioned_key(2)},{settings.API_KEY_PEPPERS}"
    with (
        override_settings(API_KEY_PEPPERS=peppers_text),
        pytest.raises(CommandError, match="Keep the old versions of API_KEY_PEPPERS"),
    ):
        manage("rotate_pepper")
    assert set(ApiKey.objects.values_list("pk", "pepper_version")) == {
        (holders[0].api_key.pk, 1),
        (holders[1].api_key.pk, 2),
        (holders[2].api_key.pk, 2),
    }


# -- signing keys


def active(purpose: str) -> str:
    return SigningKey.objects.get(purpose=purpose, state="active").kid


def newest_set() -> SignedKeySet:
    newest = SignedKeySet.objects.order_by("-version").first()
    assert newest is not None
    return newest


@pytest.mark.django_db
def test_sign_publishes_a_successor_that_does_not_sign_yet(holders: list[Holder]) -> None:
    before = active("token")
    with override_settings(ROLE="sign"):
        output = manage("rotate_signing_key", "--purpose", "token")
    pending = SigningKey.objects.get(purpose="token", state="pending")
    assert pending.kid in output
    assert pending.kid in newest_set().kids
    assert active("token") == before
    assert not SigningKey.objects.filter(purpose="lease", state="pending").exists()


@pytest.mark.django_db
def test_an_emergency_replaces_both_keys_at_once(holders: list[Holder]) -> None:
    before = {active("token"), active("lease")}
    with override_settings(ROLE="sign"):
        manage("rotate_signing_key", "--emergency")
    after = {active("token"), active("lease")}
    assert not before & after
    assert set(newest_set().kids) == after
    assert set(SigningKey.objects.filter(kid__in=before).values_list("state", flat=True)) == {"retired"}


@pytest.mark.django_db
def test_without_a_key_there_is_nothing_to_rotate() -> None:
    with pytest.raises(CommandError, match="run bootstrap_keys first"):
        manage("rotate_signing_key", "--purpose", "lease")


@pytest.mark.django_db
def test_an_order_that_comes_twice_rotates_once(holders: list[Holder]) -> None:
    leaving = active("token")
    order: dict[str, Any] = {"purpose": "token", "emergency": True, "actor": ACTOR, "leaving": leaving}
    assert key_lifecycle.rotate(now=datetime.now(UTC), **order) is not None
    successor = active("token")
    assert key_lifecycle.rotate(now=datetime.now(UTC), **order) is None
    assert active("token") == successor


def environment_of(role: str, **changes: str) -> dict[str, str]:
    """The environment of a process of a role on the test database."""
    database = make_conninfo(settings.DATABASE_URL, dbname=connection.settings_dict["NAME"])
    return {**os.environ, "DATABASE_URL": database, "KEYWRIGHT_ROLE": role, **changes}


@contextmanager
def sign_worker(log: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "celery", "-A", "licensing", "worker", "-Q", "sign", "--pool", "solo"]
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*command, "--without-gossip", "--without-mingle"],
            cwd=ROOT,
            env=environment_of("sign"),
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, log.read_text()


@pytest.mark.django_db(transaction=True)
def test_an_order_waits_for_sign_and_is_then_carried_out_once(
    committed_holders: list[Holder], empty_valkey: None, tmp_path: Path
) -> None:
    before = active("token")
    for _ in range(2):
        with pytest.raises(CommandError, match=r"The `sign` worker has not made a new token key within 0\.2 seconds"):
            manage("rotate_signing_key", "--purpose", "token", "--emergency", "--timeout", "0.2")
    assert active("token") == before
    with sign_worker(tmp_path / "log"):
        await_true(lambda: "sign" in roles_seen())
        await_true(lambda: active("token") != before)
        # Orders are carried out as they came: when this one has been, the two of before have been looked at.
        output = manage("rotate_signing_key", "--purpose", "token", "--emergency", "--timeout", "150")
        await_true(lambda: other_connections() == 0)
    assert "sign" not in roles_seen()
    assert active("token") in output
    assert AuditEvent.objects.filter(action="signing_key.rotated").count() == 2


def roles_seen() -> set[str]:
    """The roles of the workers that say they are there."""
    return {worker.role for worker in workers_seen(now=datetime.now(UTC))}


def other_connections() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        row = cursor.fetchone()
    return int(row[0])


def await_true(condition: Callable[[], bool], timeout_seconds: float = 60) -> None:
    end = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < end, "not within the time"
        time.sleep(0.05)


@pytest.mark.django_db(transaction=True)
def test_without_valkey_the_command_says_so_in_one_sentence(committed_holders: list[Holder], tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "manage.py", "rotate_signing_key", "--purpose", "token"],
        cwd=ROOT,
        env=environment_of("owner", VALKEY_URL=f"unix://{tmp_path}/nobody?db=0"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.strip() == "CommandError: Valkey does not answer, so the `sign` worker cannot be asked."
