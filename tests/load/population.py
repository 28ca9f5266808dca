"""Fills a server with customers in bulk, and prepares the requests of their installations.

Run as `python -m tests.load.population SPECIFICATION` in a web process's environment: the keys' digests, the sealed
columns and the tokens are made by the server's own code and secrets, since they must be as good as real ones.
"""

from __future__ import annotations

import json
import secrets
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

PLUGIN, VERSION = "fleet-logger", "2.1.0"
FEATURES = ("console_logging", "api_logging", "batch_processing", "advanced_analytics", "history_days")
TIERS = ("Free", "Pro", "Enterprise")
OVERRIDDEN = ("api_logging", "batch_processing", "history_days")
_COPY_ROWS = 20_000


@dataclass(frozen=True, kw_only=True)
class Specification:
    """How many of what; `plugins` are copies of the one plugin, for changes that concern one plugin only.

    The first `own_plugins` installations have a plugin each that no other has, the first `built` a build (all of them
    with `has_builds`). Requests are written for the installations from number `begin` on, until before `end` (0: all).
    """

    customers: int
    installations: int
    requests_file: str
    members_file: str
    host: str
    plugins: int = 1
    own_plugins: int = 0
    has_builds: bool = False
    built: int = 0
    begin: int = 0
    end: int = 0
    kinds: tuple[str, ...] = ("validate", "authenticate", "refresh")

    def write(self, path: Path) -> None:
        """Put it where `main` reads it."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class Member:
    """One installation and everything it stands on."""

    customer_id: str
    key_id: str
    key: str
    installation_id: str
    fingerprint: str
    plugin: str
    version: str
    build_id: str = ""


def plugin_of(number: int, specification: Specification) -> int:
    """Which plugin an installation is of: those that are somebody's own come after the shared ones."""
    if number < specification.own_plugins:
        return specification.plugins + number
    return number % specification.plugins


def plugin_name(number: int) -> str:
    """The name of one of the plugins."""
    return PLUGIN if number == 0 else f"{PLUGIN}-{number}"


def populate(specification: Specification) -> list[Member]:
    """Write the catalogue and the customers; the installations belong to the first ones, one each, in turn."""
    from django.db import connection

    now = datetime.now(UTC)
    members = _members(specification)
    by_customer = {member.customer_id: member for member in members}
    with connection.cursor() as cursor:
        _catalogue(cursor, specification.plugins + specification.own_plugins)
        ids = [f"load_{number:06d}" for number in range(specification.customers)]
        _copy(cursor, "customer", ("id", "name", "suspended_reason", "proof_required", "require_mfa", "portal_cidrs",
                                   "metadata", "updated_at"),
              ((each, f"Customer {each}", "", False, False, "[]", "{}", now) for each in ids))  # fmt: skip
        _copy(cursor, "subscription", ("customer_id", "tier_id", "status", "period_start", "period_end", "updated_at"),
              ((each, TIERS[number % 3], "active", now, now + timedelta(days=365), now)
               for number, each in enumerate(ids)))  # fmt: skip
        _copy(cursor, "api_key", _KEY_COLUMNS, _keys(ids, by_customer))
        _copy(cursor, "entitlement", ("id", "customer_id", "feature_id", "kind", "value", "source", "updated_at"),
              _overrides(ids, now))  # fmt: skip
        _copy(cursor, "installation", ("id", "customer_id", "plugin_id", "mode", "fingerprint", "is_anonymous",
                                       "hostname", "os", "arch", "version", "build_id", "api_key_id",
                                       "released_reason"),
              ((m.installation_id, m.customer_id, m.plugin, "live", m.fingerprint, False, "", "linux", "amd64",
                m.version, "", m.key_id, "") for m in members))  # fmt: skip
        _copy(cursor, "build_credential", ("id", "customer_id", "plugin_id", "version", "target", "signature_digest",
                                           "binary_sha256", "sealed_secret"), _builds(members))  # fmt: skip
    connection.close()
    return members


def _builds(members: list[Member]) -> Iterator[tuple[Any, ...]]:
    from accounts.keyrings import ring
    from licensing.services.proofs import build_secret_identity

    for member in members:
        if member.build_id:
            sealed = ring("builds").seal(secrets.token_bytes(32), identity=build_secret_identity(member.build_id))
            yield (member.build_id, member.customer_id, member.plugin, member.version, "linux/amd64",
                   secrets.token_bytes(32), secrets.token_hex(32), sealed)  # fmt: skip


def _members(specification: Specification) -> list[Member]:
    from licensing.core.ids import new_id
    from licensing.crypto import keys

    return [
        Member(
            customer_id=f"load_{number % specification.customers:06d}",
            key_id=new_id("key"),
            key=keys.generate_key("km_live"),
            installation_id=new_id("inst"),
            fingerprint=f"fleet-{secrets.token_hex(8)}",
            plugin=plugin_name(plugin_of(number, specification)),
            version=VERSION,
            build_id=new_id("bld") if specification.has_builds or number < specification.built else "",
        )
        for number in range(specification.installations)
    ]


def _catalogue(cursor: CursorWrapper, plugins: int) -> None:
    from licensing.models import Feature, Plugin, Tier, TierGrant

    Feature.objects.bulk_create(
        Feature(code=code, value_type="int" if code == "history_days" else "bool", name=code) for code in FEATURES
    )
    Tier.objects.bulk_create(
        Tier(name=name, rank=10 * (number + 1), requests_per_minute=1000, events_per_day=1_000_000,
             installation_limit=500)
        for number, name in enumerate(TIERS)
    )  # fmt: skip
    TierGrant.objects.bulk_create(
        TierGrant(tier_id=tier, feature_id=code, value=30 if code == "history_days" else True)
        for tier in TIERS
        for code in FEATURES
    )
    features = Feature.objects.in_bulk(FEATURES)
    for number in range(plugins):
        plugin = Plugin.objects.create(name=plugin_name(number), required_tier_id="Free", accepts_unsigned=True)
        for code in FEATURES:
            plugin.features.add(features[code])


_KEY_COLUMNS = ("id", "customer_id", "name", "mode", "scopes", "cidrs", "created_by", "revoked_reason", "digest",
                "pepper_version", "last4", "sealed_fingerprint", "sealed_root")  # fmt: skip


def _keys(ids: list[str], members: dict[str, Member]) -> Iterator[tuple[Any, ...]]:
    from accounts.services.api_keys import DEFAULT_SCOPES
    from accounts.services.key_material import sealed_root, stored_material
    from licensing.core.ids import new_id
    from licensing.crypto import keys

    for customer_id in ids:
        member = members.get(customer_id)
        used = [(member.key_id, member.key)] if member else []
        unused = [(new_id("key"), keys.generate_key("km_live")) for _ in range(2 - len(used))]
        for key_id, key in [*used, *unused]:
            material = stored_material(key, table="api_key", row_id=key_id)
            yield (key_id, customer_id, "Load", "live", list(DEFAULT_SCOPES), [], "", "", material["digest"],
                   material["pepper_version"], material["last4"], material["sealed_fingerprint"],
                   sealed_root(key, row_id=key_id))  # fmt: skip


def _overrides(ids: list[str], now: datetime) -> Iterator[tuple[Any, ...]]:
    from licensing.core.ids import new_id

    for number, customer_id in enumerate(ids):
        for code in OVERRIDDEN:
            value = json.dumps(30 + number % 60 if code == "history_days" else True)
            yield (new_id("ent"), customer_id, code, "override", value, "contract", now)


def _copy(cursor: CursorWrapper, table: str, columns: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> None:
    with cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def token_for(member: Member, now: float) -> str:
    """Mint by the server's own code what an authenticate of this installation would be given."""
    from licensing.rules.grants import grant_for
    from licensing.rules.pipeline import Build, Facts
    from licensing.services.installations import Place
    from licensing.services.minting import answer
    from licensing.services.state import State

    state = State(None)
    global _catalogue_read
    if _catalogue_read is None:
        _catalogue_read = state.catalogue()
    customer = state.customer(member.customer_id)
    assert customer is not None
    facts = Facts(
        now=now,
        catalogue=_catalogue_read,
        customer=customer,
        key=customer.key(member.key_id),
        plugin_name=member.plugin,
        plugin_version=member.version,
        source_address="127.0.0.1",
        is_signed=bool(member.build_id),
        build=Build(member.build_id) if member.build_id else None,
    )
    place = Place(member.installation_id, 0, is_new=False)
    token: str = answer(facts, grant_for(facts), place, auth_time=int(now), nonce=None)["token"]
    return token


_catalogue_read: Any = None


def http_request(host: str, path: str, credential: str, body: dict[str, Any] | None) -> bytes:
    """A complete request as a plugin sends it."""
    raw = b"" if body is None else json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: fleet\r\nAuthorization: Bearer {credential}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    return head.encode() + raw


def requests_of(member: Member, token: str, host: str, kinds: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """The requests of one installation, by kind."""
    for kind in kinds:
        match kind:
            case "validate":
                body = {"plugin_name": member.plugin, "plugin_token": token}
                yield kind, http_request(host, "/api/plugins/validate", token, body)
            case "refresh":
                yield kind, http_request(host, "/api/plugins/refresh", token, None)
            case "authenticate":
                asked = {
                    "plugin_name": member.plugin,
                    "plugin_version": member.version,
                    "customer_id": member.customer_id,
                    "installation": {"fingerprint": member.fingerprint, "os": "linux", "arch": "amd64"},
                }
                yield kind, http_request(host, "/api/plugins/authenticate", member.key, asked)


def write_request(file: IO[bytes], kind: str, request: bytes) -> None:
    """One entry of the fleet's file of requests (see fleet/requests.go)."""
    name = kind.encode()
    file.write(struct.pack(">B", len(name)) + name + struct.pack(">I", len(request)) + request)


def write_requests(specification: Specification, members: list[Member]) -> None:
    """Mint every member's token and write every request of it."""
    now = time.time()
    needs_token = bool({"validate", "refresh"} & set(specification.kinds))
    with Path(specification.requests_file).open("wb") as file:
        for member in members[specification.begin : specification.end or None]:
            token = token_for(member, now) if needs_token else ""
            for kind, request in requests_of(member, token, specification.host, specification.kinds):
                write_request(file, kind, request)


def main(path: str) -> None:
    """Populate (or, where the members are known already, prepare fresh requests for them)."""
    import django

    django.setup()
    read = json.loads(Path(path).read_text(encoding="utf-8"))
    specification = Specification(**{**read, "kinds": tuple(read["kinds"])})
    members_file = Path(specification.members_file)
    if members_file.exists():
        members = [Member(**each) for each in json.loads(members_file.read_text(encoding="utf-8"))]
    else:
        members = populate(specification)
        members_file.write_text(json.dumps([asdict(member) for member in members]), encoding="utf-8")
    write_requests(specification, members)


if __name__ == "__main__":
    main(sys.argv[1])
