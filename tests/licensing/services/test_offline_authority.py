"""PluginAuthority on another machine: what is asked for here, issued there, and refused when it comes back."""

from __future__ import annotations

import io
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.management import CommandError, call_command
from django.test import override_settings

from licensing.core.actor import system
from licensing.core.errors import Conflict, InvalidValue
from licensing.core.models import AuditEvent, OutboxEvent
from licensing.crypto.authority import (
    LeafPrivateKey,
    PluginAuthority,
    Purpose,
    certificate_to_der,
    generate_purpose_key,
    load_certificate,
)
from licensing.crypto.certificate_request import answer_requests, read_request
from licensing.crypto.keyset import verify_key_set
from licensing.models import Certificate, CertificateRequest, SignedKeySet, SigningKey
from licensing.services import key_lifecycle, offline_authority
from licensing.services.key_alarm import raise_certificate_alarm
from licensing.services.key_lifecycle import AUTHORITY, AuthorityOffline, CertificateLapsed

ACTOR = system("test")
DAY = timedelta(days=1)
NOW = datetime.now(UTC).replace(microsecond=0)

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def root() -> PluginAuthority:
    """The authority, as it is on the other machine."""
    return PluginAuthority.create(now=NOW - 2 * DAY)


@pytest.fixture(autouse=True)
def quick_rsa_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """An RSA key takes a second to make; these tests are not about it, and each certificate has one of a few."""
    for module in (key_lifecycle, offline_authority):
        monkeypatch.setattr(module, "generate_purpose_key", a_key)


_rsa_keys: list[LeafPrivateKey] = []


def a_key(purpose: Purpose) -> LeafPrivateKey:
    if purpose is not Purpose.BINARY:
        return generate_purpose_key(purpose)
    if len(_rsa_keys) < 2:
        _rsa_keys.insert(0, generate_purpose_key(purpose))
        return _rsa_keys[0]
    _rsa_keys.reverse()
    return _rsa_keys[0]


def ask(*purposes: Purpose, now: datetime = NOW, **options: Any) -> list[CertificateRequest]:
    return offline_authority.request_certificates(purposes=purposes or Purpose, actor=ACTOR, now=now, **options)


def answer(root: PluginAuthority, rows: list[CertificateRequest], now: datetime = NOW) -> list[bytes]:
    return answer_requests(root, [read_request(bytes(row.der)) for row in rows], now=now, lifetime=90 * DAY)


def bring(ders: list[bytes], now: datetime = NOW) -> list[offline_authority.Imported]:
    return offline_authority.import_certificates(ders=ders, actor=ACTOR, now=now)


@pytest.fixture
def offline(root: PluginAuthority) -> PluginAuthority:
    """A server whose authority was never here, set up and signing."""
    offline_authority.adopt_authority(certificate_der=root.certificate_der, actor=ACTOR, now=NOW)
    bring(answer(root, ask()))
    assert key_lifecycle.bootstrap(actor=ACTOR, now=NOW)
    return root


def key_set_is_believed(root: PluginAuthority, now: datetime, *, newest: int = 0) -> int:
    verified = verify_key_set(
        SignedKeySet.objects.latest("version").jws,
        authority=root.public_key,
        issuer="http://testserver",
        now=int(now.timestamp()),
        newest_version_seen=newest,
        newest_certificate_seen=0,
    )
    return verified.certificate_not_before


def test_a_server_that_never_held_the_key_signs_under_the_authority(offline: PluginAuthority) -> None:
    assert key_set_is_believed(offline, NOW)
    assert key_lifecycle.is_authority_offline()
    assert Certificate.objects.get(purpose=AUTHORITY).sealed_private_key is None
    assert Certificate.objects.filter(retired_at=None).count() == 7
    assert {bytes(row.sealed_private_key) for row in CertificateRequest.objects.all()} == {b""}
    with pytest.raises(AuthorityOffline):
        key_lifecycle.load_authority()


def test_without_certificates_there_is_nothing_to_begin_with(root: PluginAuthority) -> None:
    offline_authority.adopt_authority(certificate_der=root.certificate_der, actor=ACTOR, now=NOW)
    with pytest.raises(AuthorityOffline, match="request and import one"):
        key_lifecycle.bootstrap(actor=ACTOR, now=NOW)
    assert not SigningKey.objects.exists()


def test_the_authority_of_a_server_is_adopted_once(offline: PluginAuthority) -> None:
    again = offline_authority.adopt_authority(certificate_der=offline.certificate_der, actor=ACTOR, now=NOW)
    assert bytes(again.der) == offline.certificate_der
    other = PluginAuthority.create(now=NOW - DAY)
    with pytest.raises(Conflict, match="plugins pin it"):
        offline_authority.adopt_authority(certificate_der=other.certificate_der, actor=ACTOR, now=NOW)
    leaf = bytes(Certificate.objects.get(purpose="manifest").der)
    with pytest.raises(InvalidValue):
        offline_authority.adopt_authority(certificate_der=leaf, actor=ACTOR, now=NOW)


def test_certificates_are_rotated_by_asking_anew(offline: PluginAuthority) -> None:
    later = NOW + 65 * DAY
    assert offline_authority.purposes_due(now=NOW) == []
    assert offline_authority.purposes_due(now=later) == list(Purpose)
    before = {row.purpose: bytes(row.der) for row in Certificate.objects.filter(retired_at=None)}
    rows = ask(now=later)
    assert [row.pk for row in ask(now=later)] == [row.pk for row in rows], "asked again, it is the same request"
    newest = SignedKeySet.objects.latest("version").version
    imported = bring(answer(offline, rows, later), later)
    assert all(each.is_new for each in imported)
    for row in Certificate.objects.filter(retired_at=None).exclude(purpose=AUTHORITY):
        assert bytes(row.der) != before[row.purpose]
    assert Certificate.objects.filter(retired_at=later).count() == 6
    # The key set is signed anew at once, by the new certificate.
    begins = load_certificate(bytes(Certificate.objects.get(purpose="keyset", retired_at=None).der))
    assert key_set_is_believed(offline, later, newest=newest) == int(begins.not_valid_before_utc.timestamp())
    assert AuditEvent.objects.filter(action="certificate.requested").count() == 12


def test_one_purpose_alone_is_rotated(offline: PluginAuthority) -> None:
    others = set(Certificate.objects.exclude(purpose="binary").values_list("pk", flat=True))
    bring(answer(offline, ask(Purpose.BINARY)))
    assert set(Certificate.objects.filter(retired_at=None).exclude(purpose="binary").values_list("pk", flat=True)) == (
        others
    )
    assert Certificate.objects.filter(purpose="binary").count() == 2
    _, private = key_lifecycle.certificate_key(Purpose.BINARY)
    current = Certificate.objects.get(purpose="binary", retired_at=None)
    assert load_certificate(bytes(current.der)).public_key() == private.public_key()


def test_imported_twice_it_changes_nothing(offline: PluginAuthority) -> None:
    issued = answer(offline, ask(Purpose.MANIFEST))
    assert bring(issued)[0].is_new
    assert not bring(issued)[0].is_new
    assert Certificate.objects.filter(purpose="manifest").count() == 2


def test_what_is_refused(offline: PluginAuthority) -> None:
    (row,) = rows = ask(Purpose.KEYSET)
    good = answer(offline, rows)
    asked = read_request(bytes(row.der))
    own_key = generate_purpose_key(Purpose.KEYSET).public_key()
    impostor = PluginAuthority.create(now=NOW - 2 * DAY)
    assert isinstance(asked.public_key, ec.EllipticCurvePublicKey)

    def issued(purpose: Purpose, public_key: Any, begins: datetime, ends: datetime) -> bytes:
        return certificate_to_der(offline.issue(purpose, public_key, not_before=begins, not_after=ends))

    wrong = {
        "another authority has issued it": answer(impostor, rows)[0],
        "for another key": issued(Purpose.KEYSET, own_key, NOW, NOW + DAY),
        "lapsed already": issued(Purpose.KEYSET, asked.public_key, NOW - DAY, NOW - timedelta(seconds=1)),
        "not valid yet": issued(Purpose.KEYSET, asked.public_key, NOW + timedelta(seconds=1), NOW + DAY),
        "begins before the one in use": issued(Purpose.KEYSET, asked.public_key, NOW - 2 * DAY, NOW + DAY),
        "manifest certificate is for another key": issued(Purpose.MANIFEST, asked.public_key, NOW, NOW + DAY),
        "none of the purposes": offline.certificate_der,
        "cannot be read": good[0][:-3],
        "the authority has not signed it": good[0][:-1] + bytes([good[0][-1] ^ 1]),
    }
    before = list(Certificate.objects.values())
    for said, der in wrong.items():
        with pytest.raises(InvalidValue, match=said):
            bring([der])
        with pytest.raises(InvalidValue):
            bring([*good, der])  # all of them or none
    assert list(Certificate.objects.values()) == before
    assert bring(good)[0].is_new


def test_new_keys_make_the_answer_to_the_old_ones_worthless(offline: PluginAuthority) -> None:
    late = answer(offline, ask(Purpose.POLICY))
    (row,) = ask(Purpose.POLICY, with_new_keys=True)
    with pytest.raises(InvalidValue, match="for another key"):
        bring(late)
    assert bring(answer(offline, [row]))[0].is_new


def test_nothing_is_asked_for_where_the_key_is_here() -> None:
    key_lifecycle.bootstrap(actor=ACTOR, now=NOW)
    with pytest.raises(Conflict, match="nothing has to be asked for"):
        ask(Purpose.POLICY)


def test_a_lapsed_certificate_signs_nothing_and_says_so(offline: PluginAuthority) -> None:
    later = NOW + 91 * DAY
    with pytest.raises(CertificateLapsed):
        key_lifecycle.certificate_key(Purpose.BINARY, now=later)
    version = SignedKeySet.objects.latest("version").version
    key_lifecycle.maintain(actor=ACTOR, now=later)  # goes on with what can be done
    assert SignedKeySet.objects.latest("version").version == version
    kids = list(SigningKey.objects.filter(state="active").values_list("kid", flat=True))
    with pytest.raises(CertificateLapsed):
        key_lifecycle.rotate(purpose="token", emergency=True, actor=ACTOR, now=later)
    # A key whose publication is impossible took nobody's place.
    assert list(SigningKey.objects.filter(state="active").values_list("kid", flat=True)) == kids
    bring(answer(offline, ask(Purpose.KEYSET, now=later), later), later)
    assert key_set_is_believed(offline, later)


def alerts() -> list[dict[str, Any]]:
    events = OutboxEvent.objects.filter(name="security.alert", payload__alarm="CERTIFICATE_ENDING")
    return list(events.order_by("id").values_list("payload", flat=True))


def test_somebody_is_told_thirty_days_ahead_and_daily(offline: PluginAuthority) -> None:
    Certificate.objects.exclude(purpose=AUTHORITY).update(not_after=NOW + 30 * DAY)
    assert not raise_certificate_alarm(now=NOW - timedelta(seconds=1))
    assert raise_certificate_alarm(now=NOW)
    assert not raise_certificate_alarm(now=NOW + timedelta(minutes=10))
    (alert,) = alerts()
    assert alert["authority_offline"] is True
    assert set(alert["certificates"]) == {purpose.value for purpose in Purpose}
    assert alert["certificates"]["keyset"] == (NOW + 30 * DAY).isoformat()
    OutboxEvent.objects.update(created_at=NOW - DAY)
    assert raise_certificate_alarm(now=NOW)
    bring(answer(offline, ask()))
    OutboxEvent.objects.update(created_at=NOW - DAY)
    assert not raise_certificate_alarm(now=NOW)


def test_where_the_key_is_here_it_is_an_alarm_only_if_nobody_renews() -> None:
    key_lifecycle.bootstrap(actor=ACTOR, now=NOW)
    due = Certificate.objects.get(purpose="keyset").not_after - 30 * DAY
    assert not raise_certificate_alarm(now=due)
    assert raise_certificate_alarm(now=due + DAY)
    key_lifecycle.maintain(actor=ACTOR, now=due + DAY)
    OutboxEvent.objects.all().delete()
    assert not raise_certificate_alarm(now=due + DAY)


# -- the command, as docs/operations.md has it


def manage(*arguments: str | Path, role: str = "sign") -> str:
    said = io.StringIO()
    with override_settings(ROLE=role):
        call_command(*map(str, arguments), stdout=said)
    return said.getvalue()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "passphrase").write_text("correct horse battery staple\n")
    return tmp_path


FILES = ("--key", "authority.key", "--certificate", "authority.pem", "--passphrase-file", "passphrase")


def test_an_authority_made_on_another_machine(folder: Path, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        manage("authority", "create", *FILES, role="owner")
    assert (folder / "authority.key").stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED PRIVATE KEY" in (folder / "authority.key").read_bytes()
    manage("authority", "adopt", "authority.pem")
    with pytest.raises(CommandError, match="request and import one"):
        manage("bootstrap_keys")
    said = manage("authority", "request", "--out", "requests.pem")
    digest = said.partition("SHA-256: ")[2].split()[0]
    with django_assert_num_queries(0):
        issued = manage(
            "authority", "issue", "requests.pem", *FILES, "--out", "certificates.pem", "--expect", digest, role="owner"
        )
    fingerprints = [line.split()[:3] for line in said.splitlines() if " key " in line]
    assert [line.split()[:3] for line in issued.splitlines() if " key " in line] == fingerprints
    assert len(fingerprints) == 6
    assert manage("authority", "import", "certificates.pem").count("in use from now on") == 6
    assert manage("authority", "import", "certificates.pem").count("in use already") == 6
    manage("bootstrap_keys")
    assert SignedKeySet.objects.count() == 1
    status = manage("authority", "status")
    assert "on another machine" in status
    assert "no certificate" not in status


def test_an_authority_that_is_taken_away(folder: Path) -> None:
    manage("bootstrap_keys")
    there = key_lifecycle.load_authority()
    said = manage("authority", "take-offline", *FILES)
    assert "The database has it no longer" in said
    assert key_lifecycle.is_authority_offline()
    with pytest.raises(CommandError, match="on another machine"):
        manage("authority", "take-offline", *FILES)
    manage("authority", "request", "--purpose", "keyset", "--out", "requests.pem")
    manage("authority", "issue", "requests.pem", *FILES, "--out", "certificates.pem")
    manage("authority", "import", "certificates.pem")
    assert key_set_is_believed(there, datetime.now(UTC))


def test_a_server_in_a_container_is_talked_to_by_its_streams(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manage("authority", "create", *FILES, role="owner")

    def piped(verb: str, file: str) -> str:
        with (folder / file).open() as stream, monkeypatch.context() as patched:
            patched.setattr(sys, "stdin", stream)
            return manage("authority", verb, "-")

    piped("adopt", "authority.pem")
    (folder / "requests.pem").write_text(manage("authority", "request", "--out", "-"))
    assert "Requests' SHA-256: " in capsys.readouterr().err
    manage("authority", "issue", "requests.pem", *FILES, "--out", "certificates.pem", role="owner")
    assert piped("import", "certificates.pem").count("in use from now on") == 6


def test_what_the_command_refuses(folder: Path) -> None:
    manage("bootstrap_keys")
    for role in ("web", "owner"):
        with pytest.raises(CommandError, match="Run this as `sign`"):
            manage("authority", "request", "--all", "--out", "requests.pem", role=role)
    (folder / "authority.key").write_text("there already")
    with pytest.raises(CommandError, match="cannot be written: File exists"):
        manage("authority", "take-offline", *FILES)
    assert not key_lifecycle.is_authority_offline(), "the key is here until it is somewhere else"
    (folder / "authority.key").unlink()
    manage("authority", "take-offline", *FILES)
    manage("authority", "request", "--purpose", "policy", "--out", "requests.pem")
    issue = ["authority", "issue", "requests.pem", "--out", "certificates.pem"]
    with pytest.raises(CommandError, match="not the one you expect"):
        manage(*issue, *FILES, "--expect", "00" * 32)
    with pytest.raises(CommandError, match="passphrase"):
        manage(*issue, *FILES[:4])
    with pytest.raises(CommandError, match="CERTIFICATE blocks"):
        manage("authority", "import", "requests.pem")
    assert not (folder / "certificates.pem").exists()
