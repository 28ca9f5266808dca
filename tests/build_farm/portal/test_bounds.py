"""However much an organisation has built and published, its pages ask the database as often as with little of it."""

from __future__ import annotations

from django.db import connection
from django.test.utils import CaptureQueriesContext

from build_farm.models import Build
from registry.models import Channel, RegistryToken, Release
from tests.portal_cast import PortalCast

MANY = 300
MOST_QUERIES = 24
PAGES = (
    "builds", "builds/new", "builds/{build_id}", "plugins/api-logger", "plugins/api-logger/releases/2.1.0",
    "plugins/api-logger/releases/2.1.0/download", "registry", "registry/tokens/new", "registry/tokens/{token_id}",
    "registry/policy",
)  # fmt: skip


def _queries(cast: PortalCast, page: str) -> int:
    url, client = f"/portal/acme_1/{page.format(**cast.names)}", cast.role("owner")
    client.get(url)
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url).status_code == 200
    return len(queries)


def _fill(cast: PortalCast) -> None:
    first = Release.objects.get(version="2.1.0", plugin="api-logger")
    common = {"plugin_id": "api-logger", "state": "published", "published_at": first.published_at}
    releases = Release.objects.bulk_create(
        Release(
            id=f"rel_many{number}", version=f"1.{number}.0", channels=["stable"], created_by="tests",
            source=first.source, build_targets=["linux/amd64"], **common,
        )
        for number in range(10, MANY)
    )  # fmt: skip
    Build.objects.bulk_create(
        Build(
            id=f"bld_many{number}_{round_}", release=release, customer=cast.acme, target="linux/amd64", state="failed",
            created_by="tests", log="a line of the log\n" * 1000,
        )
        for number, release in enumerate(releases) for round_ in range(2)
    )  # fmt: skip
    Channel.objects.bulk_create(
        Channel(plugin_id="api-logger", name=f"channel-{number}", head=first, moved_at=first.published_at)
        for number in range(20)
    )
    token = RegistryToken.objects.get(pk=cast.names["token_id"])
    for number in range(MANY):
        token.pk, token.digest = f"pat_many{number}", number.to_bytes(32, "big")
        token._state.adding = True
        token.save(force_insert=True)


def test_pages_ask_no_more_for_more(cast: PortalCast) -> None:
    before = {page: _queries(cast, page) for page in PAGES}
    _fill(cast)
    assert {page: _queries(cast, page) for page in PAGES} == before
    assert max(before.values()) <= MOST_QUERIES
