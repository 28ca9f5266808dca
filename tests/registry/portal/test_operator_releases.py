"""The operator's pages about plugins and releases: found, withdrawn, rolled back, and the audit log says by whom."""

from __future__ import annotations

import pytest
from django.test import Client

from licensing.core.models import AuditEvent, OutboxEvent
from licensing.models import Plugin, Quarantine
from registry.models import Artifact, Channel, Release
from tests.portal_cast import PortalCast

PLUGIN = "/operator/plugins/api-logger"
RELEASE = f"{PLUGIN}/releases/2.1.0"


@pytest.fixture
def client(cast: PortalCast) -> Client:
    """An operator's browser; they are no superuser."""
    return cast.client(cast.operator)


def release(version: str = "2.1.0") -> Release:
    return Release.objects.get(plugin="api-logger", version=version)


def recorded(action: str, cast: PortalCast) -> AuditEvent:
    """The one row of an action, which the operator did."""
    row = AuditEvent.objects.get(action=action, actor_kind="operator")
    assert row.actor_id == str(cast.operator.pk)
    return row


def test_plugins_are_found_by_a_part_of_their_name(client: Client) -> None:
    everything = client.get("/operator/plugins").content.decode()
    assert "api-logger" in everything
    assert "analytics" in everything
    assert "2.2.0-beta.1" in everything  # what a channel offers
    found = client.get("/operator/plugins?q=lytic").content.decode()
    assert "/operator/plugins/analytics" in found
    assert "/operator/plugins/api-logger" not in found
    part = client.get("/operator/plugins?q=nothing", headers={"HX-Request": "true"}).content.decode()
    assert "No plugin matches" in part
    assert "<html" not in part


def test_a_long_list_has_further_pages(client: Client) -> None:
    Plugin.objects.bulk_create(Plugin(name=f"bulk-{number:03}", required_tier_id="Free") for number in range(60))
    first = client.get("/operator/plugins").content.decode()
    assert 'rel="next"' in first
    assert "/operator/plugins/bulk-059" not in first
    assert "/operator/plugins/bulk-059" in client.get("/operator/plugins?page=2").content.decode()


def test_a_plugins_page_shows_settings_channels_releases_and_quarantines(client: Client) -> None:
    page = client.get(PLUGIN)
    shown = page.content.decode()
    for words in ("for 72 hours", "1.9.0", "2.0.0", "2.1.0", "2.2.0-beta.1", "yanked", "offered now", "&lt;b&gt;bad"):
        assert words in shown, words
    assert next(line.release.version for line in page.context["lines"]) == "2.2.0-beta.1"
    assert client.get("/operator/plugins/nobody").status_code == 404


def test_a_release_shows_its_files_digests_and_who_has_builds(client: Client, cast: PortalCast) -> None:
    shown = client.get(RELEASE).content.decode()
    artifact = Artifact.objects.get(release=release(), customer=cast.acme)
    assert artifact.sha256 in shown
    assert f"/operator/builds/{artifact.build_id}" in shown
    assert "/operator/customers/acme_1" in shown
    assert artifact.sha256 not in client.get(f"{RELEASE}?q=globex").content.decode()
    prebuilt = client.get("/operator/plugins/analytics/releases/1.4.0").content.decode()
    assert Artifact.objects.get(release__version="1.4.0").sha256 in prebuilt
    assert client.get(f"{PLUGIN}/releases/9.9.9").status_code == 404


def test_a_release_is_yanked_and_offered_again(client: Client, cast: PortalCast) -> None:
    asked = client.get(f"{RELEASE}/yank").content.decode()
    assert "still gets it" in asked
    assert client.post(f"{RELEASE}/yank", {"reason": ""}).status_code == 200  # says what is missing
    assert not release().is_yanked
    done = client.post(f"{RELEASE}/yank", {"reason": "it <b>loses</b> events"}, follow=True).content.decode()
    assert "no longer offered" in done
    assert "it &lt;b&gt;loses&lt;/b&gt; events" in done
    assert release().is_yanked
    assert recorded("release.yanked", cast).detail["reason"] == "it <b>loses</b> events"
    client.post(f"{RELEASE}/yank")
    assert not release().is_yanked
    recorded("release.unyanked", cast)
    assert OutboxEvent.objects.filter(name__in=["release.yanked", "release.unyanked"]).count() == 2


def test_a_draft_cannot_be_yanked_and_says_why(client: Client) -> None:
    Release.objects.create(id="rel_d", plugin_id="api-logger", version="3.0.0", channels=["stable"], created_by="t")
    done = client.post(f"{PLUGIN}/releases/3.0.0/yank", {"reason": "x"}, follow=True).content.decode()
    assert "This release is a draft" in done
    assert not release("3.0.0").is_yanked


def test_a_channel_is_rolled_back_and_forward_again(client: Client, cast: PortalCast) -> None:
    asked = client.get(f"{PLUGIN}/channels/stable").content.decode()
    assert "1.9.0, published" in asked
    assert 'value="2.1.0"' not in asked  # what it offers already
    assert 'value="2.0.0"' not in asked  # yanked
    done = client.post(f"{PLUGIN}/channels/stable", {"version": "1.9.0"}, follow=True)
    assert "From this moment on it offers that version" in done.content.decode()
    channel = Channel.objects.get(plugin="api-logger", name="stable")
    assert (channel.head.version, channel.previous and channel.previous.version) == ("1.9.0", "2.1.0")
    assert recorded("release.channel_moved", cast).detail["from_version"] == "2.1.0"
    assert b'value="2.1.0" selected' in client.get(f"{PLUGIN}/channels/stable").content
    client.post(f"{PLUGIN}/channels/stable", {"version": "2.1.0"})
    assert Channel.objects.get(plugin="api-logger", name="stable").head.version == "2.1.0"


@pytest.mark.parametrize("version", ["2.0.0", "2.2.0-beta.1", "9.9.9", ""])
def test_a_channel_takes_nothing_that_it_cannot_offer(version: str, client: Client) -> None:
    assert client.post(f"{PLUGIN}/channels/stable", {"version": version}).status_code == 200
    assert Channel.objects.get(plugin="api-logger", name="stable").head.version == "2.1.0"


def test_a_channel_with_one_release_says_so(client: Client) -> None:
    shown = client.get("/operator/plugins/analytics/channels/stable").content.decode()
    assert "no other published release" in shown
    assert client.get(f"{PLUGIN}/channels/nightly").status_code == 404


def test_notes_are_edited_and_rendered_harmless(client: Client, cast: PortalCast) -> None:
    assert "LOG_LEVEL" in client.get(f"{RELEASE}/notes").content.decode()
    text = "# Now\r\n\r\n<script>alert(2)</script> *safe*"
    done = client.post(f"{RELEASE}/notes", {"notes": text}, follow=True).content.decode()
    assert release().notes == "# Now\n\n<script>alert(2)</script> *safe*"
    assert "<em>safe</em>" in done
    assert "<script>alert(2)" not in done
    recorded("release.notes_changed", cast)


def test_a_version_goes_into_quarantine_and_comes_out_of_it(client: Client, cast: PortalCast) -> None:
    asked = {"plugin": "api-logger", "scope": "version", "target": "2.1.0", "reason": "leaks"}
    assert "plugin=api-logger&amp;scope=version&amp;target=2.1.0" in client.get(RELEASE).content.decode()
    client.post("/operator/quarantines/new", asked)
    entry = Quarantine.objects.get(scope="version", target="2.1.0", lifted_at=None)
    shown = client.get(RELEASE).content.decode()
    assert "cannot be fetched" in shown
    assert f"/operator/quarantines/{entry.pk}/lift" in shown
    assert f"/operator/quarantines/{entry.pk}/lift" in client.get(PLUGIN).content.decode()
    client.post(f"/operator/quarantines/{entry.pk}/lift")
    assert "cannot be fetched" not in client.get(RELEASE).content.decode()
    assert recorded("quarantine.set", cast).detail["target"] == "2.1.0"
    recorded("quarantine.lifted", cast)


def test_an_artifact_in_quarantine_is_marked_wherever_it_stands(client: Client, cast: PortalCast) -> None:
    digest = Artifact.objects.get(release=release(), customer=cast.acme).sha256
    asked = {"plugin": "api-logger", "scope": "artifact", "target": digest, "reason": "altered"}
    client.post("/operator/quarantines/new", asked)
    (line,) = client.get(RELEASE).context["builds"]
    assert line.quarantine is not None
    assert line.is_signed
