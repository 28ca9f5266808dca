"""A customer's policy: written by its administrators, signed by the `sign` worker, obeyed by hosts and by us."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.db import transaction
from django.db.models import F, OuterRef, Q, Subquery

from accounts.models import Customer
from licensing.core import audit, outbox
from licensing.core.actor import Actor
from licensing.core.clock import rfc3339
from licensing.core.errors import InvalidValue
from licensing.crypto.authority import Purpose
from licensing.crypto.signatures import sign_text, write_typed
from licensing.models import PLUGIN_NAME_PATTERN
from licensing.rules.versions import parse_version
from licensing.services.key_lifecycle import certificate_key
from registry.models import CustomerPolicy, SignedPolicy

log = structlog.get_logger(__name__)

TYPE = "keywright-policy/v1"
MAX_ENTRIES = 500
_PIN = re.compile(r"(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8}))?")
_SOURCE = re.compile(r"[\x21-\x7e]{1,200}")
_FIELDS = (
    "plugin_verification",
    "allow_unsigned",
    "allowed_sources",
    "blocked_plugins",
    "auto_update",
    "version_pins",
)


def effective_policy(customer_id: str) -> CustomerPolicy:
    """The customer's policy; the strict defaults (version 0, not stored) where it has set none."""
    row = CustomerPolicy.objects.filter(pk=customer_id).first()
    return row or CustomerPolicy(customer_id=customer_id, version=0)


def set_policy(*, customer: Customer, changes: Mapping[str, Any], actor: Actor, now: datetime) -> CustomerPolicy:
    """Change the members of the policy that are given; a new version of it is signed soon after the commit.

    Raises:
        InvalidValue: naming the field.
    """
    wanted = {name: _checked(name, value) for name, value in changes.items()}
    with transaction.atomic():
        # The customer's row stands for a policy that does not exist yet.
        Customer.objects.select_for_update(no_key=True).get(pk=customer.pk)
        row = effective_policy(customer.pk)
        before = {name: getattr(row, name) for name in _FIELDS}
        for name, value in wanted.items():
            setattr(row, name, value)
        after = {name: getattr(row, name) for name in _FIELDS}
        if before == after and row.version > 0:
            return row
        row.version, row.updated_at = row.version + 1, now
        row.save()
        changed = {name: after[name] for name in _FIELDS if before[name] != after[name]}
        audit.record(
            actor=actor,
            action="policy.changed",
            subject_kind="policy",
            subject_id=customer.pk,
            customer_id=customer.pk,
            is_change=False,
            detail={"version": row.version, "changed": changed},
        )
        outbox.emit("policy.changed", customer_id=customer.pk, payload={"version": row.version})
    return row


def sign_due_policies(*, now: datetime, limit: int = 500) -> int:
    """Sign every policy whose newest version is not signed yet; return how many (`sign` only; safe to run twice)."""
    signed = SignedPolicy.objects.filter(customer_id=OuterRef("customer_id")).values("version")[:1]
    due = CustomerPolicy.objects.annotate(signed_version=Subquery(signed)).filter(
        Q(signed_version=None) | Q(signed_version__lt=F("version"))
    )
    rows = list(due.order_by("updated_at")[:limit])
    if not rows:
        return 0
    certificate, private = certificate_key(Purpose.POLICY, now=now)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise TypeError("policies are signed by an EC key")
    for row in rows:
        text = policy_text(row, now)
        _keep(row, text, sign_text(private, text.encode("utf-8")), bytes(certificate.der), now)
    log.info("policies.signed", count=len(rows))
    return len(rows)


def policy_text(row: CustomerPolicy, now: datetime) -> str:
    """The JSON text of a policy, as it is signed: `_type` first, the members of the seed's km-config.yaml after."""
    members = {
        "_type": TYPE,
        "iss": settings.PUBLIC_URL,
        "customer_id": row.customer_id,
        "version": row.version,
        "issued_at": rfc3339(now),
        "security": {"plugin_verification": row.plugin_verification, "allow_unsigned": row.allow_unsigned},
        "plugins": {
            "auto_update": row.auto_update,
            "allowed_sources": list(row.allowed_sources),
            "blocked_plugins": list(row.blocked_plugins),
            "version_pins": dict(row.version_pins),
        },
    }
    return write_typed(members).decode("utf-8")


def violation(policy: CustomerPolicy, *, plugin: str, version: str) -> str | None:
    """Why the policy forbids this version of a plugin, as a sentence; None if it does not."""
    if plugin in policy.blocked_plugins:
        return f"The policy blocks {plugin}."
    pin = policy.version_pins.get(plugin)
    if pin is not None and not is_pinned(pin, version):
        return f"The policy pins {plugin} to {pin}."
    if policy.allowed_sources and not any(_is_ours(source) for source in policy.allowed_sources):
        return "The policy does not allow plugins from this server."
    return None


def refuses_unsigned(policy: CustomerPolicy) -> bool:
    """Whether hosts must not run what is not signed. With verification on `warn` or `off` they would run it anyway."""
    return policy.plugin_verification == CustomerPolicy.Verification.STRICT and not policy.allow_unsigned


def is_pinned(pin: str, version: str) -> bool:
    """Whether a version is what a pin asks for: the same, or beginning with the same numbers (`2`, `2.1`)."""
    parsed = parse_version(version)
    if pin == version or parsed is None:
        return pin == version
    if not _PIN.fullmatch(pin):
        return False
    parts = [int(part) for part in pin.split(".")]
    return [parsed.major, parsed.minor][: len(parts)] == parts


def _keep(row: CustomerPolicy, text: str, signature: bytes, certificate: bytes, now: datetime) -> None:
    signed = {
        "version": row.version,
        "text": text,
        "signature": signature,
        "certificate": certificate,
        "signed_at": now,
    }
    with transaction.atomic():
        SignedPolicy.objects.bulk_create([SignedPolicy(customer_id=row.customer_id, **signed)], ignore_conflicts=True)
        # Conditional: of two signers at once the one with the older version changes nothing.
        SignedPolicy.objects.filter(customer_id=row.customer_id, version__lt=row.version).update(**signed)


def _is_ours(source: str) -> bool:
    """Whether an allowed source is this server: the same origin, at or above our root."""
    theirs, ours = urlsplit(source), urlsplit(settings.PUBLIC_URL)
    same_origin = (theirs.scheme, theirs.netloc.lower()) == (ours.scheme, ours.netloc.lower())
    return same_origin and f"{ours.path}/".startswith(f"{theirs.path.rstrip('/')}/")


def _checked(name: str, value: Any) -> Any:
    match name:
        case "plugin_verification" if value in CustomerPolicy.Verification.values:
            return value
        case "allow_unsigned" | "auto_update" if isinstance(value, bool):
            return value
        case "allowed_sources":
            return _checked_list(name, value, _is_source)
        case "blocked_plugins":
            return _checked_list(name, value, _is_plugin_name)
        case "version_pins":
            return _checked_pins(value)
    raise InvalidValue(f"{name}: not a value that can be set.", field=name)


def _checked_list(name: str, value: list[str], accepts: Any) -> list[str]:
    if len(value) > MAX_ENTRIES:
        raise InvalidValue(f"{name}: at most {MAX_ENTRIES}.", field=name)
    for index, entry in enumerate(value):
        if not accepts(entry):
            raise InvalidValue(f"{name}[{index}]: not a value that can be set.", field=f"{name}[{index}]")
    return sorted(set(value))


def _checked_pins(value: Mapping[str, str]) -> dict[str, str]:
    if len(value) > MAX_ENTRIES:
        raise InvalidValue(f"version_pins: at most {MAX_ENTRIES}.", field="version_pins")
    for plugin, pin in value.items():
        if not _is_plugin_name(plugin) or not (_PIN.fullmatch(pin) or pin == str(parse_version(pin))):
            raise InvalidValue(
                "version_pins: plugin names, each with a version such as 2.1.0, 2.1 or 2.", field="version_pins"
            )
    return dict(sorted(value.items()))


def _is_plugin_name(text: str) -> bool:
    return re.fullmatch(PLUGIN_NAME_PATTERN.strip("^$"), text) is not None


def _is_source(text: str) -> bool:
    # urlsplit would drop line breaks and tabs; what is signed is the text as it was given.
    if not _SOURCE.fullmatch(text):
        return False
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
    return is_url and not (parts.query or parts.fragment or parts.username)
