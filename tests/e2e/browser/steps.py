"""What a reader meets only within a step: refused forms, secrets shown once, empty pages, mailed links, errors."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from tests.e2e.browser.harness import PHONE, Browser
from tests.e2e.browser.inspection import Inspection

PASSWORD = "correct horse battery staple"


@dataclass
class Walker:
    """Who walks, and with what."""

    browser: Browser
    become: Any
    site: Any
    inspection: Inspection
    monkeypatch: pytest.MonkeyPatch
    mailbox: list[Any]

    def look(self, where: str) -> None:
        self.inspection.look(where)

    def at(self, path: str, where: str) -> None:
        """Open a page and look at it."""
        self.browser.open(path)
        self.look(where)

    def person(self, email: str, **more: Any) -> Any:
        """Somebody new, who has a password."""
        from accounts.models import User

        return User.objects.create_user(email, PASSWORD, **more)

    def sign_in(self, email: str, *, at: str = "") -> None:
        """By the form."""
        self.browser.open(f"{at}/account/login")
        self.browser.fill("login", email)
        self.browser.fill("password", PASSWORD)
        self.browser.press("Sign in")

    def confirm(self) -> None:
        """Say the password again."""
        self.browser.fill("password", PASSWORD)
        self.browser.press("Confirm")


def code_of(secret: str) -> str:
    """What an authenticator app shows now."""
    from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value

    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30)))


def set_up_app(browser: Browser) -> None:
    """Enter a code of the app that the page shows. A code that its half minute ended under is entered anew."""
    secret = browser.one("#totp-secret").text
    for _ in range(5):
        browser.fill("code", code_of(secret))
        browser.press("Turn it on")
        if browser.all("#codes"):
            return
    raise AssertionError(browser.text)


def sign_in_refused(walker: Walker) -> None:
    walker.browser.open("/account/login")
    walker.browser.fill("login", "nobody@acme.example")
    walker.browser.fill("password", "not the password")
    walker.browser.press("Sign in")
    walker.look("sign-in, refused")


def a_second_factor(walker: Walker) -> None:
    browser = walker.browser
    walker.person("ada@acme.example")
    walker.sign_in("ada@acme.example")
    walker.at("/", "no organisation")
    walker.at("/account/password", "another password")
    walker.at("/account/logout", "to sign out")
    browser.open("/account/factors/app")
    walker.look("the password again")
    browser.fill("password", "not the password")
    browser.press("Confirm")
    walker.look("the password again, refused")
    walker.confirm()
    walker.look("an app to set up")
    browser.fill("code", "000000")
    browser.press("Turn it on")
    walker.look("an app to set up, refused")
    set_up_app(browser)
    walker.look("recovery codes")
    walker.at("/account/factors", "factors, with an app")
    walker.at("/account/factors/codes/new", "codes to be made anew")
    browser.press("Make new codes")
    walker.look("codes made anew")
    recovery = browser.one("#codes").text.split()[0]
    walker.at("/account/factors/app/remove", "an app to be removed")
    browser.press("Sign out")
    walker.sign_in("ada@acme.example")
    walker.look("the second factor")
    browser.fill("code", "000000")
    browser.press("Go on")
    walker.look("the second factor, refused")
    browser.fill("code", recovery)
    browser.press("Go on")
    browser.open("/account/factors/again?next=/account/factors")
    walker.look("the second factor again")


def passkeys(walker: Walker) -> None:
    """Browsers have them for names alone, so this walk goes by `localhost`."""
    from allauth.mfa.models import Authenticator
    from selenium.webdriver.common.virtual_authenticator import VirtualAuthenticatorOptions

    browser, local = walker.browser, walker.browser.base_url.replace("127.0.0.1", "localhost")
    options = VirtualAuthenticatorOptions()
    options.protocol, options.transport = "ctap2", "internal"
    options.has_resident_key = options.has_user_verification = options.is_user_verified = True
    person = walker.person("grace@acme.example")
    browser.driver.add_virtual_authenticator(options)
    try:
        walker.sign_in("grace@acme.example", at=local)
        browser.open(f"{local}/account/factors/passkeys/add")
        walker.confirm()
        walker.look("a passkey to add")
        browser.fill("name", "This laptop")
        browser.press("Add")
        walker.at(f"{local}/account/factors/passkeys", "a passkey")
        number = Authenticator.objects.get(user=person, type=Authenticator.Type.WEBAUTHN).pk
        walker.at(f"{local}/account/factors/passkeys/{number}/edit", "a passkey to rename")
        walker.at(f"{local}/account/factors/passkeys/{number}/remove", "a passkey to remove")
        walker.at(f"{local}/account/factors/passkeys/again?next=/account/factors", "the passkey again")
        browser.forget()
        walker.sign_in("grace@acme.example", at=local)
        walker.look("the second factor, a passkey")
    finally:
        browser.driver.remove_virtual_authenticator()


def a_new_password(walker: Walker) -> None:
    browser = walker.browser
    walker.person("edsger@acme.example")
    browser.open("/account/reset")
    browser.fill("email", "edsger@acme.example")
    browser.press("Send the link")
    walker.look("a link was sent")
    (mail,) = [each for each in walker.mailbox if each.to == ["edsger@acme.example"]]
    (link,) = re.findall(r"http://\S+/account/reset/\S+", mail.body)
    walker.at(link, "a new password")
    for name in ("password1", "password2"):
        browser.fill(name, "short")
    browser.press("Set the password")
    walker.look("a new password, refused")
    for name in ("password1", "password2"):
        browser.fill(name, f"{PASSWORD} anew")
    browser.press("Set the password")
    walker.look("a new password, set")
    walker.at(link, "a link that was used")


def invitations(walker: Walker) -> None:
    walker.become(walker.site.outsider)
    walker.at(f"/account/invitation/{walker.site.names['token']}", "an invitation for another")
    walker.browser.press("Join")
    walker.look("an invitation for another, refused")
    walker.at("/account/invitation/no-such", "an invitation that is gone")


def keys(walker: Walker) -> None:
    browser = walker.browser
    walker.become(walker.site.people["owner"])
    browser.open("/portal/acme_1/keys/new")
    browser.fill("name", "a")
    browser.fill("cidrs", "nowhere")
    browser.press("Create the key")
    walker.look("a key, refused by the service")
    browser.fill("cidrs", "192.0.2.0/24")
    browser.press("Create the key")
    walker.look("a key that shows once")
    browser.press("I have copied it")
    old = browser.path
    browser.press("Rotate")
    browser.press("Rotate the key")
    walker.look("a key that takes over")
    walker.at(old, "a key that was rotated")
    browser.press("Revoke")
    browser.press("Revoke for good")
    walker.look("keys, with a notice")
    walker.at(old, "a key that is revoked")


def nothing_yet(walker: Walker) -> None:
    """Every page of the menu, for an organisation that has nothing."""
    from accounts.models import Customer, Membership, Role
    from accounts.portal import navigation

    empty = Customer.objects.create(pk="empty_1", name="Empty")
    Membership.objects.create(user=walker.site.outsider, customer=empty, role=Role.OWNER)
    walker.become(walker.site.outsider)
    from accounts.permissions import actions_of_role

    for link in navigation.links(
        navigation.CUSTOMER, actions=actions_of_role(Role.OWNER), path="", customer_id=empty.pk
    ):
        walker.at(link.url, f"nothing yet: {link.label}")
    walker.browser.one(".switcher summary").click()
    walker.look("the organisations")


def filters(walker: Walker) -> None:
    walker.become(walker.site.people["owner"])
    for query in ("installations?q=no-such", "installations?show=all", "audit?q=TIER_TOO_LOW", "audit?action=no"):
        walker.at(f"/portal/acme_1/{query}", query)
    walker.become(walker.site.superuser)
    for query in ("customers?q=no-such", "quarantines?lifted=1", "audit?customer=acme_1"):
        walker.at(f"/operator/{query}", query)


def many(walker: Walker) -> None:
    """Lists of more than one page."""
    from licensing.models import Installation
    from tests.portal_cast import fill

    if Installation.objects.filter(customer=walker.site.acme).count() < 50:
        fill(walker.site.acme, installations=120, events=120)
    walker.become(walker.site.people["developer"])
    walker.at("/portal/acme_1/installations?page=2", "installations, the second page")
    walker.at("/portal/acme_1/audit", "audit, the first page")
    walker.at("/portal/acme_1", "overview of a fleet")


def what_opens(walker: Walker) -> None:
    browser = walker.browser
    walker.become(walker.site.people["viewer"])
    browser.open("/portal/acme_1/people")
    browser.one("details summary").click()
    walker.look("what each role may do")
    browser.look(size=PHONE, theme="light")
    browser.open("/portal/acme_1#menu")
    walker.look("the menu, opened")


def in_trouble(walker: Walker) -> None:
    """An organisation whose period is over, which is suspended, with an installation in quarantine."""
    from accounts.services.customers import resume_customer, suspend_customer
    from licensing.models import Installation, Subscription
    from licensing.services.quarantines import lift_quarantine, quarantine
    from tests.portal_cast import ACTOR

    site, now = walker.site, datetime.now(UTC)
    held = Subscription.objects.filter(customer=site.acme)
    held.update(period_start=now - timedelta(days=31), period_end=now - timedelta(days=1))
    row = Installation.objects.get(pk=site.names["installation_id"])
    entry, _ = quarantine(plugin=row.plugin, scope="installation", target=row.pk, reason="x", actor=ACTOR, now=now)
    suspend_customer(customer=site.acme, reason="unpaid", actor=ACTOR, now=now)
    walker.become(site.people["owner"])
    for path in ("", "/plugins", "/plugins/api-logger", "/installations", f"/installations/{row.pk}"):
        walker.at(f"/portal/acme_1{path}", f"in trouble: {path}")
    walker.become(site.superuser)
    walker.at("/operator/customers/acme_1", "a customer in trouble")
    walker.at("/operator/customers/acme_1/suspend", "a customer to be resumed")
    lift_quarantine(entry=entry, actor=ACTOR, now=now)
    resume_customer(customer=site.acme, actor=ACTOR)
    held.update(period_end=now + timedelta(days=20))


def looking_on(walker: Walker) -> None:
    walker.become(walker.site.operator)
    walker.browser.open("/operator/customers/acme_1/look-on")
    walker.browser.fill("reason", "a support call")
    walker.browser.press("Look on")
    walker.look("looking on")
    walker.at("/portal/acme_1/security", "looking on, a form")


def lockdown(walker: Walker) -> None:
    walker.become(walker.site.operator)
    walker.browser.open("/operator/lockdown")
    walker.browser.fill("reason", "a test")
    walker.browser.press("Lock everything")
    walker.look("live, in a lockdown")
    walker.at("/operator/lockdown", "lockdown, on")
    walker.browser.press("End the lockdown")


def errors(walker: Walker) -> None:
    browser = walker.browser
    walker.become(walker.site.people["billing"])
    walker.at("/portal/acme_1/keys", "403")
    walker.at("/portal/nobody_1", "404")
    walker.at("/no/such/page", "404, of no page")
    browser.open("/account")
    browser.driver.execute_script("document.querySelector('main [name=csrfmiddlewaretoken]').value = 'x'.repeat(64)")
    browser.press("Save")
    walker.look("403, a form that is no longer good")
    with walker.monkeypatch.context() as patch:
        patch.setattr("accounts.portal.me.Authenticator.objects", None)
        patch.setattr("accounts.portal.middleware.log", _Silent())
        walker.at("/account", "500")
    browser.forget()
    for _ in range(6):
        browser.open("/account/reset")
        browser.fill("email", "nobody@acme.example")
        browser.press_one("main button")
    assert "Too many attempts" in browser.text
    walker.look("429")


class _Silent:
    """A log for an error that is meant."""

    def error(self, _event: str, **_more: object) -> None:
        return


STEPS: Final[tuple[Callable[[Walker], None], ...]] = (
    sign_in_refused, a_second_factor, passkeys, a_new_password, invitations, keys, nothing_yet, filters, many,
    what_opens, in_trouble, looking_on, lockdown, errors,
)  # fmt: skip
