"""The tasks of the portal, walked in a real browser by the people who do them, on a desktop and on a phone.

Builds, downloads and the private registry have a walk of their own (test_shop_walk.py), and so has a browser without
scripts (test_without_scripts.py).
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.e2e.browser.harness import DESKTOP, PHONE, Browser
from tests.e2e.browser.steps import PASSWORD, set_up_app

pytestmark = pytest.mark.browser

NEW = "another horse battery staple"


@pytest.fixture(params=[(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def walk(request: pytest.FixtureRequest, browser: Browser) -> Any:
    """The browser on a desk, and in a hand; whatever is walked, its policies refuse nothing."""
    size, theme = request.param
    browser.look(size=size, theme=theme)
    yield browser
    assert browser.refused() == []
    assert [entry for entry in browser.complaints() if "responded with a status of" not in entry] == []


def test_an_owner_does_everything(walk: Browser, site: Any) -> None:
    from accounts.models import Membership

    owner = _with_password(site.people["owner"])
    Membership.objects.create(user=owner, customer=site.globex, role="viewer")
    _sign_in(walk, owner.email)
    _switch(walk, "Globex")
    assert walk.path == "/portal/globex_1"
    _switch(walk, "Acme")
    assert walk.path == "/portal/acme_1"
    _keys(walk)
    _people(walk, site)
    _audit(walk)
    _usage(walk)
    _security(walk, site)


def _keys(walk: Browser) -> None:
    _menu(walk, "API keys")
    walk.press("Create a key")
    walk.fill("name", "From a browser")
    walk.press("Create the key")
    shown = walk.one("#secret").text
    assert re.fullmatch(r"km_live_[0-9A-Za-z]{36}", shown)
    assert f"export KEYWRIGHT_API_KEY='{shown}'" in walk.text
    walk.press("I have copied it")
    assert shown not in walk.driver.page_source
    walk.press("Change")
    walk.fill("cidrs", "198.51.100.0/24")
    walk.press("Save")
    assert "198.51.100.0/24" in walk.text
    walk.press("Rotate")
    walk.press("Rotate the key")
    assert "works until" in walk.text
    walk.press("I have copied it")
    walk.press("Revoke")
    assert "stops working within a second" in walk.text
    walk.press("Revoke for good")
    assert "The key is revoked" in walk.text


def _people(walk: Browser, site: Any) -> None:
    from accounts.models import Membership

    _menu(walk, "People")
    walk.press_one(f"a[href='/portal/acme_1/people/{site.people['viewer'].pk}']")
    walk.tick("role", "billing")
    walk.press("Save")
    assert "It counts from their next click on" in walk.text
    assert Membership.objects.get(user=site.people["viewer"]).role == "billing"
    walk.press_one(f"a[href='/portal/acme_1/people/{site.people['viewer'].pk}/remove']")
    assert "lose access" in walk.text
    walk.press("Remove")
    assert "They are no member any more" in walk.text
    walk.press("Withdraw")
    walk.press("Withdraw")
    assert "The invitation is withdrawn" in walk.text


def _audit(walk: Browser) -> None:
    _menu(walk, "Audit log")
    walk.fill("action", "api_key.rot")
    walk.wait(lambda: "api_key.rotated" in _results(walk) and "member" not in _results(walk))
    walk.fill("q", "nobody@nowhere.example")
    walk.wait(lambda: "Nothing matches" in _results(walk))
    walk.open("/portal/acme_1/audit?action=api_key.")
    lines = [json.loads(line) for line in walk.download("JSON Lines").splitlines()]
    assert {"api_key.created", "api_key.rotated", "api_key.revoked"} <= {line["action"] for line in lines}
    assert all(line["action"].startswith("api_key.") for line in lines)
    assert len(walk.download("CSV").splitlines()) == len(lines) + 1


def _usage(walk: Browser) -> None:
    _menu(walk, "Usage")
    assert "api_logging" in walk.text
    assert walk.one("svg.chart").is_displayed()
    rows = walk.download("Export CSV").splitlines()
    assert rows[0] == "day,plugin,measure,count"
    assert any(row.endswith(",api-logger,event:api_logging,7") for row in rows)


def _security(walk: Browser, site: Any) -> None:
    _menu(walk, "Security")
    walk.one("[name=require_mfa]").click()
    walk.press("Save")
    assert "Set up a second factor of your own first" in walk.text
    walk.one("[name=require_mfa]").click()
    walk.fill("portal_cidrs", "192.0.2.0/24")
    walk.press("Save")
    assert "That would shut you out" in walk.text
    walk.fill("portal_cidrs", "127.0.0.0/8")
    walk.one("[name=proof_required]").click()
    walk.press("Save")
    assert "Saved. It counts from this moment on" in walk.text
    site.acme.refresh_from_db()
    assert (site.acme.portal_cidrs, site.acme.proof_required) == (["127.0.0.0/8"], True)


def test_a_developer_looks_after_the_fleet(walk: Browser, become: Any, site: Any) -> None:
    from tests.portal_cast import HOST, fill

    fill(site.acme, installations=120, events=0)
    become(site.people["developer"])
    walk.open("/portal/acme_1/installations")
    first = walk.one("#results")
    walk.fill("q", "host-11")
    walk.wait(lambda: "host-110" in _results(walk) and "host-20" not in _results(walk))
    assert first.is_displayed()  # the same page: only the part was exchanged
    walk.wait(lambda: "q=host-11" in walk.path)
    walk.wait(lambda: walk.one("#results time").get_attribute("data-local") == "yes")
    walk.open("/portal/acme_1/installations?q=host-1&plugin=api-logger")
    exported = walk.download("Export CSV").splitlines()
    assert exported[0].startswith("id,plugin,version")
    assert len(exported) > 20
    walk.open("/portal/acme_1/installations")
    walk.press("Next")
    assert "51–100" in walk.text
    walk.open("/portal/acme_1/installations")
    walk.fill("q", HOST[:4])
    walk.wait(lambda: HOST in _results(walk) and "host-1" not in _results(walk))
    walk.press(HOST)
    walk.press("Quarantine")
    walk.press("Quarantine")
    assert "In quarantine" in walk.text
    walk.press("Lift quarantine")
    walk.press("Lift")
    assert "Lifted. It is served again" in walk.text
    walk.press("Release")
    walk.press("Release")
    assert "Released. It takes a place again" in walk.text


def test_everybody_sees_what_the_table_allows(walk: Browser, become: Any, site: Any) -> None:
    """The menu holds the pages of one's role, which open; a page of another role's says what to do."""
    from accounts.models import Role
    from accounts.permissions import TABLE, actions_of_role
    from accounts.portal import navigation

    everything = navigation.links(navigation.CUSTOMER, actions=frozenset(TABLE), path="", customer_id="acme_1")
    writes = {"Create a key": "keys.write", "Invite somebody": "members.write", "Save": "security.write"}
    for role in Role:
        become(site.people[role.value])
        own = navigation.links(navigation.CUSTOMER, actions=actions_of_role(role), path="", customer_id="acme_1")
        for link in everything:
            walk.open(link.url)
            if link not in own:
                assert "You may not do that" in walk.text, (role, link.url)
                continue
            assert "You may not do that" not in walk.text, (role, link.url)
            shown = {line.get_attribute("textContent").strip() for line in walk.all("nav > ul a")}
            assert shown == {str(each.label) for each in own}, role
            for words, action in writes.items():
                if walk.offers(words):
                    assert role in TABLE[action], (role, words)
        walk.open("/portal/acme_1/installations")
        acts = {link.text.split()[0] for link in walk.all("#results td.acts a")}
        assert acts == ({"Release", "Quarantine"} if role in TABLE["installations.write"] else set()), role


def test_an_invited_person_joins(walk: Browser, become: Any, site: Any, mailoutbox: Any) -> None:
    become(site.people["admin"])
    walk.open("/portal/acme_1/people")
    walk.press("Invite somebody")
    walk.fill("email", "grace@acme.example")
    walk.tick("role", "developer")
    assert not walk.all("main [value=owner]")  # administrators make no owners
    walk.press("Send the invitation")
    assert "on its way" in walk.text
    _send_mails()
    (mail,) = [each for each in mailoutbox if each.to == ["grace@acme.example"]]
    (link,) = re.findall(r"http://\S+", mail.body)
    walk.forget()
    walk.open(link)
    walk.fill("name", "Grace")
    walk.fill("password", PASSWORD)
    walk.press("Make my account and join")
    _fill_sign_in(walk, "grace@acme.example")
    assert walk.path == "/portal/acme_1"
    _menu(walk, "People")
    assert "Grace" in walk.text
    assert not walk.offers("Invite somebody")


def test_a_person_keeps_their_account(walk: Browser, site: Any, mailoutbox: Any) -> None:
    """Name, a second factor and its recovery codes, an organisation that asks for it, a lost password, sessions."""
    owner = _with_password(site.people["owner"])
    _sign_in(walk, owner.email)
    walk.open("/account")
    walk.fill("name", "Ada")
    walk.press("Save")
    site.acme.require_mfa = True
    site.acme.save()
    walk.open("/portal/acme_1")
    assert "This organisation asks for a second factor" in walk.text
    walk.press("Set up an app")
    walk.fill("password", PASSWORD)
    walk.press("Confirm")
    set_up_app(walk)
    codes = walk.one("#codes").text.split()
    assert len(codes) == 10
    walk.open("/portal/acme_1")  # to set a factor up was to show it
    assert walk.path == "/portal/acme_1"
    _menu(walk, "Sign out")
    _fill_sign_in(walk, owner.email)
    assert walk.path.startswith("/account/factor")
    walk.fill("code", codes[0])
    walk.press("Go on")
    assert walk.path == "/portal/acme_1"
    walk.open("/account/factors")
    assert "9 codes are left" in walk.text
    other = site.client(owner)
    assert other.get("/account").status_code == 200
    _menu(walk, "Sign out")
    _lost_password(walk, owner.email, mailoutbox)
    assert other.get("/account").status_code == 302
    _fill_sign_in(walk, owner.email, NEW)
    walk.fill("code", codes[1])
    walk.press("Go on")
    walk.open("/account/sessions")
    walk.press("Sign out everywhere")
    assert walk.path.startswith("/account/login")
    walk.open("/portal/acme_1")
    assert walk.path.startswith("/account/login")


def _lost_password(walk: Browser, email: str, mailoutbox: Any) -> None:
    walk.press("Forgot your password?")
    walk.fill("email", email)
    walk.press("Send the link")
    (link,) = [
        found
        for mail in mailoutbox
        if mail.to == [email]
        for found in re.findall(r"http://\S+/account/reset/\S+", mail.body)
    ]
    walk.open(link)
    for name in ("password1", "password2"):
        walk.fill(name, NEW)
    walk.press("Set the password")
    assert "Your password is set" in walk.text
    walk.press("Sign in")


def test_a_passkey_is_added_and_signs_in(browser: Browser, site: Any) -> None:
    from selenium.webdriver.common.virtual_authenticator import VirtualAuthenticatorOptions

    options = VirtualAuthenticatorOptions()
    options.protocol, options.transport = "ctap2", "internal"
    options.has_resident_key = options.has_user_verification = options.is_user_verified = True
    _with_password(site.people["owner"])
    browser.driver.add_virtual_authenticator(options)
    try:
        local = browser.base_url.replace("127.0.0.1", "localhost")
        _sign_in(browser, "owner@acme.example", at=local)
        browser.open(f"{local}/account/factors/passkeys/add")
        browser.fill("password", PASSWORD)
        browser.press("Confirm")
        browser.fill("name", "This laptop")
        browser.one("[name=passwordless]").click()
        browser.press("Add")
        browser.sees("Recovery codes")
        browser.forget()
        browser.open(f"{local}/account/login")
        browser.press("Sign in with a passkey")
        browser.wait(lambda: browser.driver.current_url == f"{local}/portal/acme_1")
    finally:
        browser.driver.remove_virtual_authenticator()


def test_an_operator_looks_on_and_stops_things(walk: Browser, become: Any, site: Any) -> None:
    from licensing.models import Lockdown, Quarantine

    become(site.superuser)
    walk.open("/operator/customers")
    walk.press("Acme")
    walk.press("Look on")
    walk.fill("reason", "a support call")
    walk.press("Look on")
    assert "read-only" in walk.text
    walk.open("/portal/acme_1/keys")
    assert not walk.offers("Create a key")
    walk.press("Stop looking on")
    walk.press("Suspend")
    walk.fill("reason", "unpaid")
    walk.press("Suspend")
    assert "Suspended" in walk.text
    walk.press("Resume")
    walk.press("Resume")
    assert "Resumed" in walk.text
    walk.open("/operator/quarantines")
    walk.press("Quarantine something")
    walk.fill("plugin", "analytics")
    walk.fill("reason", "a test")
    walk.press("Quarantine")
    assert Quarantine.objects.filter(plugin_name="analytics", lifted_at=None).exists()
    walk.press_one(f"a[href$='/{Quarantine.objects.get(plugin_name='analytics').pk}/lift']")
    walk.press("Lift")
    assert "Lifted. It is served again" in walk.text
    _menu(walk, "Lockdown")
    walk.fill("reason", "keys may be lost")
    walk.press("Lock everything")
    assert "Everything is locked" in walk.text
    assert Lockdown.objects.exists()
    walk.press("End the lockdown")
    walk.press("End the lockdown")
    assert "The lockdown is over" in walk.text
    become(site.people["owner"])  # who sees that somebody looked on, and why
    walk.open("/portal/acme_1/audit?action=operator.")
    assert "operator.looked_on" in walk.text
    assert "the vendor's operator" in walk.text


def _with_password(person: Any) -> Any:
    person.set_password(PASSWORD)
    person.save()
    return person


def _send_mails() -> None:
    from licensing.core.outbox import dispatch_pending

    dispatch_pending(now=datetime.now(UTC))


def _results(walk: Browser) -> str:
    return walk.one("#results").text


def _sign_in(browser: Browser, email: str, *, at: str = "") -> None:
    browser.open(f"{at}/account/login")
    _fill_sign_in(browser, email)


def _fill_sign_in(browser: Browser, email: str, password: str = PASSWORD) -> None:
    browser.fill("login", email)
    browser.fill("password", password)
    browser.press("Sign in")


def _open_menu(walk: Browser) -> None:
    if not walk.one("nav.side").is_displayed():
        walk.one(".topbar a[href='#menu']").click()
        walk.wait(lambda: walk.one("nav.side").is_displayed())


def _menu(walk: Browser, text: str) -> None:
    _open_menu(walk)
    walk.press(text)


def _switch(walk: Browser, text: str) -> None:
    _open_menu(walk)
    walk.one(".switcher summary").click()
    walk.press(text)
