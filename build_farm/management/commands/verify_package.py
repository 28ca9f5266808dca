"""`manage.py verify_package FILE.kmpkg`: check everything about a package, and name what is wrong."""

import hashlib
from argparse import ArgumentParser
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.management.base import BaseCommand, CommandError

from build_farm.packaging import PackageRefused, verify_package
from build_farm.packaging.archive import ArchiveMalformed, read_archive
from licensing.crypto.authority import AuthorityError, load_certificate
from licensing.models import Certificate
from licensing.services.key_lifecycle import AUTHORITY


class Command(BaseCommand):
    """Without `--authority` the server's own is used, and certificates that it has withdrawn are known."""

    help = "Verify a .kmpkg package against PluginAuthority; the exit status tells, the last line names the reason."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The file, and whom to believe."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--authority", type=Path, help="PluginAuthority's certificate, PEM or DER.")
        parser.add_argument("--customer", help="It must be this customer's.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Verify; say what it is, or why it is refused."""
        given: Path | None = options["authority"]
        authority = _authority_of(_read(given) if given else _stored_authority())
        try:
            with options["file"].open("rb") as file:
                files = read_archive(file)
            verified = verify_package(
                files,
                authority=authority,
                retired={} if given else _withdrawn(),
                expected={"customer_id": options["customer"]} if options["customer"] else None,
            )
        except OSError as exc:
            raise CommandError(f"The file cannot be read: {exc.strerror}.") from exc
        except ArchiveMalformed as exc:
            raise CommandError(f"ARCHIVE_MALFORMED: {exc}") from exc
        except PackageRefused as exc:
            raise CommandError(str(exc)) from exc
        manifest = verified.manifest
        for name in ("name", "version", "target", "customer_id", "tier", "build_id", "signed_at", "hash"):
            self.stdout.write(f"  {name:<12} {manifest[name]}")
        self.stdout.write("The package is whole, and PluginAuthority vouches for it.")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise CommandError(f"{path} cannot be read: {exc.strerror}.") from exc


def _authority_of(text: bytes) -> ec.EllipticCurvePublicKey:
    """The public key of a certificate in PEM or DER."""
    try:
        certificate = x509.load_pem_x509_certificate(text) if b"-----BEGIN" in text else load_certificate(text)
    except (ValueError, AuthorityError) as exc:
        raise CommandError("The authority's certificate cannot be read.") from exc
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise CommandError("The authority's certificate has no EC key.")
    return key


def _stored_authority() -> bytes:
    row = Certificate.objects.filter(purpose=AUTHORITY, retired_at=None).first()
    if row is None:
        raise CommandError("This server has no PluginAuthority; give --authority.")
    return bytes(row.der)


def _withdrawn() -> dict[str, datetime]:
    rows = Certificate.objects.exclude(retired_at=None).values_list("der", "retired_at")
    return {hashlib.sha256(bytes(der)).hexdigest(): retired_at for der, retired_at in rows if retired_at is not None}
