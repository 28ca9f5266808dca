"""Builds, downloads and the private registry, walked in a real browser by a developer; then again without scripts."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import StaleElementReferenceException

from tests.e2e.browser.harness import DESKTOP, PHONE, Browser

pytestmark = pytest.mark.browser

PLUGIN = "/portal/acme_1/plugins/api-logger"
REGISTRY = "/portal/acme_1/registry"
CONTENT = b"a ready-made plugin\n" * 500


@pytest.fixture(autouse=True)
def _nothing_refused(browser: Browser) -> Any:
    yield
    assert browser.refused() == []
    assert [entry for entry in browser.complaints() if "status of 4" not in entry] == []


@pytest.fixture
def ready_made(site: Any, settings: Any, live_server: Any, tmp_path: Path) -> Any:
    """A version with a file for linux/amd64 that is really there."""
    from registry.storage import artifact_store
    from tests.registry.cast import publish

    settings.ARTIFACT_DIR, settings.FILES_URL = str(tmp_path / "artifacts"), live_server.url
    return publish(artifact_store(), "api-logger", "2.1.5", content=CONTENT)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_build_is_asked_for_and_watched_until_it_is_ready(
    browser: Browser, become: Any, site: Any, size: tuple[int, int]
) -> None:
    from build_farm.models import Build

    become(site.people["developer"])
    browser.look(size=size, theme="light")
    browser.open(f"{PLUGIN}/releases/2.2.0-beta.1")
    browser.press("Build it for me")
    assert re.fullmatch(r"/portal/acme_1/builds/bld_\w+", browser.path)
    assert "before it" in browser.text
    page, row = browser.one("html"), Build.objects.filter(pk=browser.path.rpartition("/")[2])
    row.update(state="building", claimed_at=row.get().created_at)
    _sees(browser, "It is being compiled")
    row.update(state="signing", binary_sha256="b" * 64)
    _sees(browser, "is being signed")
    assert page.is_displayed()  # the same page: only the part was exchanged
    row.update(state="failed", failure="What was compiled cannot be signed: no build info.")
    _sees(browser, "Why it failed")  # that one was loaded anew
    assert "the result is not what can be signed" in browser.text


def test_a_build_is_cancelled_after_saying_what_that_does(browser: Browser, become: Any, site: Any) -> None:
    become(site.people["developer"])
    browser.open(f"/portal/acme_1/builds/{site.names['build_id']}")
    browser.press("Cancel")
    assert "is thrown away" in browser.text
    browser.press("Cancel the build")
    assert "Cancelled. Nothing of it is kept." in browser.text
    browser.press("Ask again")
    assert browser.one("[name=release]").get_attribute("value") == "api-logger 2.1.0"


def test_a_press_on_download_brings_the_file(
    browser: Browser, become: Any, site: Any, ready_made: Any, tmp_path: Path
) -> None:
    folder = getattr(browser, "downloads", tmp_path / "downloads")
    browser.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    become(site.people["developer"])
    browser.open(f"{PLUGIN}/releases/2.1.5")
    assert ready_made.sha256 in browser.text
    browser.press("Download")
    assert "Your download starts" in browser.text
    assert browser.axe() == []
    file = Path(folder) / ready_made.filename
    browser.wait(lambda: file.exists() and file.stat().st_size == len(CONTENT), 60)
    assert file.read_bytes() == CONTENT


def test_a_token_is_made_and_revoked_and_the_policy_asks_before_it_loosens(
    browser: Browser, become: Any, site: Any
) -> None:
    become(site.people["admin"])
    browser.open(REGISTRY)
    browser.press("Create a token")
    browser.fill("name", "Berlin mirror")
    browser.tick("plugins", "api-logger")
    browser.press("Create the token")
    secret = browser.one("#secret").text
    assert re.fullmatch(r"pat_[0-9A-Za-z]{36}", secret)
    assert f"export KEYWRIGHT_REGISTRY_TOKEN='{secret}'" in browser.text
    assert browser.axe() == []
    browser.press("I have copied it")
    assert secret not in browser.driver.page_source
    browser.press("Revoke")
    assert "stops working within a second" in browser.text
    browser.press("Revoke for good")
    assert "The token is revoked" in browser.text
    browser.open(f"{REGISTRY}/policy")
    browser.tick("plugin_verification", "warn")
    browser.press("Save")
    assert "Hosts will run plugins that do not verify" in browser.text
    assert browser.axe() == []
    browser.press("Change it")
    assert "Saved. We hold downloads against it" in browser.text


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_without_the_feature_the_registry_says_what_it_would_give(
    browser: Browser, become: Any, site: Any, size: tuple[int, int]
) -> None:
    become(site.outsider)
    browser.look(size=size, theme="dark")
    browser.open("/portal/globex_1/registry")
    assert "Your subscription has no private registry" in browser.text
    assert "Create a token" not in browser.text
    assert browser.axe() == []


def test_all_of_it_works_without_scripts(browser: Browser, become: Any, site: Any, ready_made: Any) -> None:
    become(site.people["developer"])
    with browser.without_scripts():
        browser.open("/portal/acme_1/builds?state=failed")
        assert browser.all("main td .badge.bad")
        browser.open(f"{PLUGIN}/releases/2.2.0-beta.1")
        _submit(browser, "Build it for me")
        assert "Load this page again" in browser.text
        _submit(browser, "Cancel")
        _submit(browser, "Cancel the build")
        assert "Cancelled. Nothing of it is kept." in browser.text
        browser.open(f"{PLUGIN}/releases/2.1.5")
        _submit(browser, "Download")
        assert browser.one("main a[download]").get_attribute("href").startswith(f"{browser.base_url}/files/")
        browser.open(f"{REGISTRY}/tokens/new")
        browser.fill("name", "Without scripts")
        _submit(browser, "Create the token")
        assert "Copy it now" in browser.text
        browser.open(f"{REGISTRY}/policy")
        browser.one("[name=auto_update]").click()
        _submit(browser, "Save")
        assert "Saved. We hold downloads against it" in browser.text


def _sees(browser: Browser, text: str) -> None:
    """Wait until the page says something; it may be exchanged while one reads it."""

    def is_there() -> bool:
        with suppress(StaleElementReferenceException):
            return text in browser.text
        return False

    browser.wait(is_there, 60)


def _submit(browser: Browser, text: str) -> None:
    """Press a button and wait, without asking the page's scripts, which are off."""
    from selenium.webdriver.support.expected_conditions import staleness_of

    before = browser.one("html")
    browser.link(text).click()
    browser.wait(lambda: staleness_of(before)(browser.driver), 30)
