"""`manage.py authority …`: PluginAuthority with its private key on another machine (docs/operations.md).

`create` and `issue` run on that machine and touch no database; the others run as `sign`.
"""

import hashlib
import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from licensing.core.actor import system
from licensing.core.errors import DomainError
from licensing.crypto.authority import AuthorityError, PluginAuthority, Purpose, load_certificate
from licensing.crypto.certificate_request import (
    MAX_FILE_BYTES,
    RequestRefused,
    answer_requests,
    fingerprint,
    key_from_pem,
    key_to_pem,
    read_certificates,
    read_request,
    read_requests,
    write_certificates,
    write_requests,
)
from licensing.crypto.jwk import KeyInvalid
from licensing.models import Certificate, CertificateRequest
from licensing.services import offline_authority
from licensing.services.key_lifecycle import AUTHORITY, current_certificate, is_authority_offline, load_authority
from licensing.services.rotation import can_sign_here

_ACTOR = system("authority")
_DEFAULT_DAYS = 90
_STANDARD = "-"  # standard input or output, for a server in a container


class Command(BaseCommand):
    """One verb a step; each says what the next one is."""

    help = "Keep PluginAuthority's private key on another machine: certificates are asked for, issued there, imported."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The verbs and their files."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="Offline: make the authority's key and certificate.")
        _add_authority_files(create)
        issue = verbs.add_parser("issue", help="Offline: certify the keys of a file of requests.")
        issue.add_argument("requests", type=Path)
        _add_authority_files(issue)
        issue.add_argument("--out", type=Path, required=True, help="The file of certificates to write.")
        issue.add_argument("--days", type=int, default=_DEFAULT_DAYS, help="Their life (90; key sets: 90 at most).")
        issue.add_argument("--expect", metavar="SHA256", help="Refuse any other file than that of this digest.")
        adopt = verbs.add_parser("adopt", help="Server: take in the authority's certificate, before bootstrap_keys.")
        adopt.add_argument("certificate", type=Path)
        take = verbs.add_parser("take-offline", help="Server: write the authority's key to a file, and forget it.")
        _add_authority_files(take)
        request = verbs.add_parser("request", help="Server: make keys, and the requests for their certificates.")
        request.add_argument("--out", type=Path, required=True, help="The file of requests; -: standard output.")
        request.add_argument("--purpose", action="append", choices=[each.value for each in Purpose])
        request.add_argument("--all", action="store_true", help="For every purpose, not just for those due soon.")
        request.add_argument("--new-keys", action="store_true", help="Drop what was asked for before.")
        bring = verbs.add_parser("import", help="Server: take in the certificates that came back.")
        bring.add_argument("certificates", type=Path)
        verbs.add_parser("status", help="Server: where the key is, which certificates there are, what is asked for.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the verb; every refusal is one sentence."""
        verbs: dict[str, Callable[..., None]] = {
            "create": self._create,
            "issue": self._issue,
            "adopt": self._adopt,
            "take-offline": self._take_offline,
            "request": self._request,
            "import": self._import,
            "status": self._status,
        }
        try:
            verbs[options["verb"]](**options)
        except (RequestRefused, KeyInvalid) as exc:
            raise CommandError(str(exc)) from exc
        except AuthorityError as exc:
            raise CommandError(f"The authority's certificate is refused: {exc.reason}.") from exc
        except DomainError as exc:
            raise CommandError(exc.detail) from exc

    def _create(self, *, key: Path, certificate: Path, passphrase_file: Path | None, **_options: Any) -> None:
        # Before every certificate of its own, and of the past on machines whose clocks are behind.
        authority = PluginAuthority.create(now=datetime.now(UTC) - timedelta(days=1))
        _keep(authority, key, certificate, passphrase_file)
        self._say_kept(authority, key, certificate, passphrase_file)

    def _issue(
        self,
        *,
        requests: Path,
        key: Path,
        certificate: Path,
        passphrase_file: Path | None,
        out: Path,
        days: int,
        expect: str | None,
        **_options: Any,
    ) -> None:
        if not 1 <= days <= 3650:
            raise CommandError("--days: between 1 and 3650.")
        text = _read(requests)
        digest = hashlib.sha256(text).hexdigest()
        if expect is not None and expect.strip().lower() != digest:
            raise CommandError(f"The file's SHA-256 is {digest}, which is not the one you expect.")
        asked = read_requests(text)
        authority = _kept(key, certificate, passphrase_file)
        issued = answer_requests(authority, asked, now=datetime.now(UTC), lifetime=timedelta(days=days))
        _write(out, write_certificates(issued), is_secret=False)
        self.stdout.write(f"Requests' SHA-256: {digest}")
        for each, der in zip(asked, issued, strict=True):
            until = load_certificate(der).not_valid_after_utc
            self.stdout.write(f"  {each.purpose.value:<11} key {fingerprint(each.public_key)}  until {until:%Y-%m-%d}")
        self.stdout.write(f"Take {out} to the server: manage.py authority import {out.name}")

    def _adopt(self, *, certificate: Path, **_options: Any) -> None:
        _require_sign()
        der = _certificate_der(_read(certificate))
        offline_authority.adopt_authority(certificate_der=der, actor=_ACTOR, now=datetime.now(UTC))
        self.stdout.write(f"PluginAuthority is {hashlib.sha256(der).hexdigest()} (SHA-256 of its certificate).")
        self.stdout.write("Next: manage.py authority request --out requests.pem")

    def _take_offline(self, *, key: Path, certificate: Path, passphrase_file: Path | None, **_options: Any) -> None:
        _require_sign()
        authority = load_authority()
        _keep(authority, key, certificate, passphrase_file)
        # Read back from the file, as the other machine will, before the only other copy goes.
        kept = _kept(key, certificate, passphrase_file)
        offline_authority.forget_authority_key(kept=kept, actor=_ACTOR, now=datetime.now(UTC))
        self._say_kept(authority, key, certificate, passphrase_file)
        self.stdout.write("The database has it no longer. Backups made before still do, sealed under KEK_ARTIFACTS.")

    def _request(
        self,
        *,
        out: Path,
        purpose: list[str] | None,
        new_keys: bool,
        all: bool,
        **_options: Any,
    ) -> None:
        _require_sign()
        now = datetime.now(UTC)
        wanted = [each for each in Purpose if all or each.value in (purpose or [])]
        wanted = wanted or offline_authority.purposes_due(now=now)
        if not wanted:
            raise CommandError("No certificate is due within thirty days: name a --purpose, or ask for --all.")
        rows = offline_authority.request_certificates(purposes=wanted, actor=_ACTOR, now=now, with_new_keys=new_keys)
        text = write_requests(bytes(row.der) for row in rows)
        tell = self.stderr if str(out) == _STANDARD else self.stdout
        if str(out) == _STANDARD:
            self.stdout.write(text.decode("ascii"), ending="")
        else:
            _write(out, text, is_secret=False)
        for row in rows:
            asked = read_request(bytes(row.der))
            tell.write(f"  {asked.purpose.value:<11} key {fingerprint(asked.public_key)}")
        tell.write(f"Requests' SHA-256: {hashlib.sha256(text).hexdigest()}")
        tell.write(
            f"On the other machine: manage.py authority issue {out.name} --key … --certificate … --out certificates.pem"
        )

    def _import(self, *, certificates: Path, **_options: Any) -> None:
        _require_sign()
        ders = read_certificates(_read(certificates))
        for each in offline_authority.import_certificates(ders=ders, actor=_ACTOR, now=datetime.now(UTC)):
            word = "in use from now on" if each.is_new else "in use already"
            self.stdout.write(f"  {each.purpose.value:<11} until {each.certificate.not_after:%Y-%m-%d}, {word}")

    def _status(self, **_options: Any) -> None:
        authority = Certificate.objects.filter(purpose=AUTHORITY, retired_at=None).first()
        if authority is None:
            raise CommandError("There is no PluginAuthority yet: adopt one, or run bootstrap_keys.")
        where = "on another machine" if is_authority_offline() else "here, sealed under KEK_ARTIFACTS"
        self.stdout.write(f"PluginAuthority until {authority.not_after:%Y-%m-%d}; its private key is {where}.")
        asked = set(CertificateRequest.objects.filter(closed_at=None).values_list("purpose", flat=True))
        for purpose in Purpose:
            row = current_certificate(purpose)
            until = f"until {row.not_after:%Y-%m-%d %H:%M}Z" if row is not None else "no certificate"
            self.stdout.write(f"  {purpose.value:<11} {until}{', asked for' if purpose.value in asked else ''}")

    def _say_kept(self, authority: PluginAuthority, key: Path, certificate: Path, passphrase: Path | None) -> None:
        digest = hashlib.sha256(authority.certificate_der).hexdigest()
        sealed = "encrypted" if passphrase else "NOT encrypted (no --passphrase-file)"
        self.stdout.write(f"PluginAuthority's private key is in {key}, {sealed}; its certificate is in {certificate}.")
        self.stdout.write(f"SHA-256 of the certificate: {digest}")


def _add_authority_files(parser: ArgumentParser) -> None:
    parser.add_argument("--key", type=Path, required=True, help="The authority's private key, PEM.")
    parser.add_argument("--certificate", type=Path, required=True, help="The authority's certificate, PEM.")
    parser.add_argument("--passphrase-file", type=Path, help="The first line encrypts the key file.")


def _require_sign() -> None:
    if not can_sign_here():
        raise CommandError("Run this as `sign`: KEYWRIGHT_ROLE=sign, with the secrets of that role.")


def _keep(authority: PluginAuthority, key: Path, certificate: Path, passphrase_file: Path | None) -> None:
    _write(key, key_to_pem(authority.private_key, _passphrase(passphrase_file)), is_secret=True)
    _write(certificate, write_certificates([authority.certificate_der]), is_secret=False)


def _kept(key: Path, certificate: Path, passphrase_file: Path | None) -> PluginAuthority:
    private = key_from_pem(_read(key), _passphrase(passphrase_file))
    found = load_certificate(_certificate_der(_read(certificate)))
    if found.public_key() != private.public_key():
        raise CommandError("The authority's key and certificate do not belong together.")
    return PluginAuthority(certificate=found, private_key=private)


def _certificate_der(text: bytes) -> bytes:
    ders = read_certificates(text)
    if len(ders) != 1:
        raise CommandError("The authority's file holds one certificate.")
    return ders[0]


def _passphrase(path: Path | None) -> bytes | None:
    if path is None:
        return None
    line = _read(path).split(b"\n", 1)[0].rstrip(b"\r")
    if not line:
        raise CommandError(f"{path} has no passphrase in its first line.")
    return line


def _read(path: Path) -> bytes:
    if str(path) == _STANDARD:
        return sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise CommandError(f"{path} cannot be read: {exc.strerror}.") from exc


def _write(path: Path, content: bytes, *, is_secret: bool) -> None:
    """Write a new file and see it on the disk: nothing that exists is replaced."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 if is_secret else 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        raise CommandError(f"{path} cannot be written: {exc.strerror}.") from exc
