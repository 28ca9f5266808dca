"""Releases in the portal: what is offered, notes that stay text, and whose files one sees."""

from __future__ import annotations

import hashlib

import pytest

from licensing.models import Subscription
from registry.models import Artifact, CustomerPolicy, Release
from tests.portal_cast import PortalCast

PLUGIN = "/portal/acme_1/plugins/api-logger"
RELEASE = f"{PLUGIN}/releases/2.1.0"


def test_a_plugins_page_lists_its_releases_and_what_each_channel_offers(cast: PortalCast) -> None:
    section = cast.role("billing").get(PLUGIN).context["sections"][0].context
    assert [offer.release.version for offer in section["offers"]] == ["2.2.0-beta.1", "2.1.0", "2.0.0", "1.9.0"]
    assert [(each.name, each.offer.release.version) for each in section["channels"]] == [
        ("stable", "2.1.0"),
        ("beta", "2.2.0-beta.1"),
    ]


def test_releases_of_a_plugin_out_of_reach_are_not_listed(cast: PortalCast) -> None:
    Subscription.objects.filter(customer=cast.acme).update(tier="Free")
    page = cast.role("owner").get("/portal/acme_1/plugins/analytics")
    assert page.status_code == 200
    assert b"1.4.0" not in page.content
    assert b"as soon as you may use it" in page.content
    assert cast.role("owner").get("/portal/acme_1/plugins/analytics/releases/1.4.0").status_code == 404


def test_notes_are_markdown_and_never_markup(cast: PortalCast) -> None:
    page = cast.role("viewer").get(RELEASE).content.decode()
    assert "<strong>events in batches</strong>" in page
    assert 'href="https://vendor.example/guide"' in page
    assert 'rel="noopener noreferrer nofollow"' in page
    assert "<img src" not in page
    assert 'href="javascript' not in page


def test_a_file_is_shown_with_its_own_digest_and_commands(cast: PortalCast) -> None:
    artifact = Artifact.objects.get(release__version="2.1.0", customer=cast.acme)
    page = cast.role("viewer").get(RELEASE)
    shown = next(each for each in page.context["targets"] if each.artifact)
    assert shown.digest_command == f"sha256sum -c <<'END'\n{artifact.sha256}  {artifact.filename}\nEND"
    assert f"-signature plugin.sig {artifact.filename}" in shown.signature_commands
    assert artifact.sha256.encode() in page.content


def test_who_may_not_download_nor_build_sees_no_button_for_it(cast: PortalCast) -> None:
    for role, expected in (("developer", True), ("viewer", False), ("billing", False)):
        page = cast.role(role).get(RELEASE).content
        assert (b">Download<" in page) == expected, role
        page = cast.role(role).get(f"{PLUGIN}/releases/2.2.0-beta.1").content
        assert (b"Build it for me" in page) == expected, role
    assert b"/builds/bld_" not in cast.role("billing").get(RELEASE).content


def test_what_is_not_built_is_built_at_a_press(cast: PortalCast) -> None:
    client = cast.role("developer")
    answer = client.post("/portal/acme_1/builds/new", {"release": "api-logger 2.2.0-beta.1", "target": "linux/arm64"})
    page = client.get(f"{PLUGIN}/releases/2.2.0-beta.1")
    shown = {each.target: each.build for each in page.context["targets"]}
    assert answer.headers["Location"] == f"/portal/acme_1/builds/{shown['linux/arm64'].build_id}"
    assert answer.headers["Location"].encode() in page.content
    assert (shown["linux/arm64"].state, shown["linux/arm64"].is_live, shown["darwin/arm64"]) == ("queued", True, None)


def test_another_organisation_sees_the_release_and_nothing_of_ours(cast: PortalCast) -> None:
    page = cast.client(cast.outsider).get("/portal/globex_1/plugins/api-logger/releases/2.1.0")
    assert page.status_code == 200
    assert [(each.artifact, each.build) for each in page.context["targets"]] == [(None, None)] * 3
    artifact = Artifact.objects.get(release__version="2.1.0", customer=cast.acme)
    assert artifact.sha256.encode() not in page.content
    assert b"bld_" not in page.content


@pytest.mark.parametrize("version", ["9.9.9", "1.0.0"])
def test_a_version_that_is_not_there_or_in_quarantine_is_not_found(cast: PortalCast, version: str) -> None:
    Release.objects.filter(version="1.9.0").update(version="1.0.0")  # which the cast has in quarantine
    for page in ("", "/download"):
        assert cast.role("owner").get(f"{PLUGIN}/releases/{version}{page}").status_code == 404


def test_a_withdrawn_version_says_so_and_why(cast: PortalCast) -> None:
    page = cast.role("developer").get(f"{PLUGIN}/releases/2.0.0").content
    assert b"has withdrawn this version" in page
    assert b"It loses events." in page
    assert b"Build it for me" not in page


def test_what_the_policy_forbids_is_said_before_anybody_tries(cast: PortalCast) -> None:
    CustomerPolicy.objects.update(blocked_plugins=["api-logger"])
    page = cast.role("developer").get(RELEASE)
    assert page.context["refusal"] == "The policy blocks api-logger."
    assert b">Download<" not in page.content


def test_a_listing_is_cut_and_says_so(cast: PortalCast) -> None:
    Release.objects.bulk_create(
        Release(
            id=f"rel_{number}", plugin_id="api-logger", version=f"0.{number}.0", state="published", channels=["stable"],
            published_at=cast.acme.created_at, created_by="tests",
        )
        for number in range(60)
    )  # fmt: skip
    page = cast.role("viewer").get(PLUGIN)
    assert len(page.context["sections"][0].context["offers"]) == 50
    assert b"older ones are had by their version" in page.content
    assert cast.role("viewer").get(f"{PLUGIN}/releases/0.3.0").status_code == 200


def test_digests_in_commands_are_of_characters_that_no_shell_reads_anything_into(cast: PortalCast) -> None:
    for row in Artifact.objects.all():
        assert len(row.sha256) == len(hashlib.sha256().hexdigest())
        assert row.filename.replace("-", "").replace(".", "").isalnum()
