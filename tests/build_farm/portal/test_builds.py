"""The pages of builds: finding, asking, watching, cancelling, and what a failure says."""

from __future__ import annotations

import re
from typing import Any

import pytest

from accounts.services.api_keys import issue_api_key
from build_farm.models import Build
from licensing.core.actor import system
from licensing.core.models import AuditEvent
from licensing.models import Subscription
from registry.models import Release
from tests.portal_cast import PortalCast

BUILDS = "/portal/acme_1/builds"
ACTOR = system("tests")


def _state(state: str, **fields: Any) -> Build:
    return Build.objects.filter(state=state, **fields).order_by("created_at").first()  # type: ignore[return-value]


def _ask(cast: PortalCast, *, role: str = "developer", **changes: str) -> Any:
    asked = {"release": "api-logger 2.2.0-beta.1", "target": "linux/arm64"} | changes
    return cast.role(role).post(f"{BUILDS}/new", asked)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=published", {"published"}),
        ("state=failed", {"failed"}),
        ("target=linux/arm64", {"building"}),
        ("plugin=analytics", set()),
        ("state=published&target=darwin/arm64", set()),
        ("state=nonsense&target=%00", {"queued", "building", "published", "failed", "cancelled"}),
    ],
)
def test_the_list_is_filtered(cast: PortalCast, query: str, expected: set[str]) -> None:
    page = cast.role("viewer").get(f"{BUILDS}?{query}")
    assert page.status_code == 200
    assert {row.state for row in page.context["listing"].rows} == expected


def test_a_filter_changes_its_part_of_the_page_alone(cast: PortalCast) -> None:
    part = cast.role("viewer").get(BUILDS, headers={"HX-Request": "true"})
    assert b"<table" in part.content
    assert b"<html" not in part.content


def test_a_developer_asks_for_a_build_and_is_shown_it(cast: PortalCast) -> None:
    key = issue_api_key(customer=cast.acme, name="Laptops", actor=ACTOR).api_key
    answer = _ask(cast, api_key_id=key.pk)
    row = Build.objects.get(release__version="2.2.0-beta.1", target="linux/arm64")
    assert answer.headers["Location"] == f"{BUILDS}/{row.pk}"
    assert (row.state, row.wanted_key_id, row.created_by) == ("queued", key.pk, str(cast.people["developer"].pk))
    page = cast.role("developer").get(answer.headers["Location"])
    assert b"developer@acme.example" in page.content
    assert b"builds are served before it" in page.content or b"build is served before it" in page.content
    event = AuditEvent.objects.get(action="build.queued", subject_id=row.pk)
    assert (event.actor_kind, event.actor_display) == ("person", "developer@acme.example")
    assert _ask(cast).headers["Location"] == answer.headers["Location"]  # who asks again joins


def test_what_is_built_already_is_shown_unless_it_is_wanted_anew(cast: PortalCast) -> None:
    there = _state("published")
    asked = {"release": "api-logger 2.1.0", "target": "linux/amd64"}
    assert _ask(cast, **asked).headers["Location"] == f"{BUILDS}/{there.pk}"
    assert not Build.objects.filter(state="queued", release__version="2.1.0", target="linux/amd64").exists()
    anew = _ask(cast, **asked, again="on")
    assert (
        Build.objects.get(state="queued", release__version="2.1.0", target="linux/amd64").pk in anew.headers["Location"]
    )


def test_a_target_that_the_version_has_not_is_refused_beside_its_field(cast: PortalCast) -> None:
    Release.objects.filter(version="2.2.0-beta.1").update(build_targets=["linux/amd64"])
    page = _ask(cast, target="darwin/arm64")
    assert page.status_code == 200
    assert page.context["form"].errors["target"] == ["target: one of linux/amd64."]


def test_an_old_version_is_had_by_its_name(cast: PortalCast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("build_farm.portal.build_changes._MOST_RELEASES", 1)
    client = cast.role("developer")
    newest = client.get(f"{BUILDS}/new").context["form"].fields["release"].choices
    assert newest == [("api-logger 2.2.0-beta.1",) * 2]
    page = client.get(f"{BUILDS}/new?plugin=api-logger&version=2.1.0&target=linux/arm64")
    assert ("api-logger 2.1.0",) * 2 in page.context["form"].fields["release"].choices
    assert page.context["form"].initial == {"release": "api-logger 2.1.0", "target": "linux/arm64"}
    assert _ask(cast, release="api-logger 2.1.0", target="linux/arm64").status_code == 302
    assert client.get(f"{BUILDS}/new?plugin=%00&version=%27").status_code == 200


@pytest.mark.parametrize("field", ["release", "api_key_id"])
def test_what_is_another_organisations_cannot_be_chosen(cast: PortalCast, field: str) -> None:
    theirs = issue_api_key(customer=cast.globex, name="theirs", actor=ACTOR).api_key.pk
    page = _ask(cast, **{field: theirs})
    assert field in page.context["form"].errors
    assert not Build.objects.filter(target="linux/arm64", release__version="2.2.0-beta.1").exists()


def test_without_a_subscription_there_is_nothing_to_ask_for(cast: PortalCast) -> None:
    client = cast.role("owner")
    Subscription.objects.filter(customer=cast.acme).update(status="paused")
    assert b"Nothing can be built" in client.get(f"{BUILDS}/new").content
    assert _ask(cast).context["form"].errors["release"]
    assert not Build.objects.filter(target="linux/arm64", release__version="2.2.0-beta.1").exists()


def test_a_build_on_its_way_is_watched_without_loading_the_page_anew(cast: PortalCast) -> None:
    row, client = _state("building"), cast.role("viewer")
    page = client.get(f"{BUILDS}/{row.pk}").content.decode()
    assert f'hx-get="{BUILDS}/{row.pk}"' in page
    assert re.search(r"<noscript>.*Load this page again.*</noscript>", page)
    part = client.get(f"{BUILDS}/{row.pk}", headers={"HX-Request": "true"})
    assert b'aria-current="step"' in part.content
    assert b"<html" not in part.content
    assert "HX-Refresh" not in part.headers
    Build.objects.filter(pk=row.pk).update(state="cancelled")
    assert client.get(f"{BUILDS}/{row.pk}", headers={"HX-Request": "true"}).headers["HX-Refresh"] == "true"
    assert "hx-trigger" not in client.get(f"{BUILDS}/{row.pk}").content.decode()


def test_a_failure_is_told_in_words_and_its_log_is_inert(cast: PortalCast) -> None:
    row = _state("failed", target="darwin/arm64")
    page = cast.role("viewer").get(f"{BUILDS}/{row.pk}").content.decode()
    assert "The plugin&#x27;s source does not compile for this target." in page
    assert "write to the vendor" in page
    assert "./shipper.go:41" in page
    assert "undefined: batchSize" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page


def test_cancelling_asks_once_and_then_stops_it(cast: PortalCast) -> None:
    row, client = _state("building"), cast.role("developer")
    assert b"is thrown away" in client.get(f"{BUILDS}/{row.pk}/cancel").content
    assert Build.objects.get(pk=row.pk).state == "building"
    assert client.post(f"{BUILDS}/{row.pk}/cancel").headers["Location"] == f"{BUILDS}/{row.pk}"
    assert Build.objects.get(pk=row.pk).state == "cancelled"
    assert AuditEvent.objects.filter(action="build.cancelled", subject_id=row.pk, actor_kind="person").exists()


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("state", ["published", "failed"])
def test_what_is_over_cannot_be_cancelled(cast: PortalCast, method: str, state: str) -> None:
    row, client = _state(state), cast.role("developer")
    answer = getattr(client, method)(f"{BUILDS}/{row.pk}/cancel")
    assert answer.status_code == 302
    assert b"was over before it could be cancelled" in client.get(answer.headers["Location"]).content
    assert Build.objects.get(pk=row.pk).state == state


@pytest.mark.parametrize("suffix", ["", "/cancel"])
def test_another_organisations_build_is_answered_like_none(cast: PortalCast, suffix: str) -> None:
    outsider, row = cast.client(cast.outsider), _state("building")
    theirs = outsider.get(f"/portal/globex_1/builds/{row.pk}{suffix}")
    none = outsider.get(f"/portal/globex_1/builds/bld_01m816ygf2speacwsyqqxp6whh{suffix}")
    assert theirs.status_code == none.status_code == 404
    assert outsider.post(f"/portal/globex_1/builds/{row.pk}/cancel").status_code == 404
    assert Build.objects.get(pk=row.pk).state == "building"
    listed = outsider.get("/portal/globex_1/builds")
    assert listed.context["listing"].rows == []
