"""Every page of the URL table with scripts off: it shows, nothing is dead, its main form does what it says."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.browser.harness import Browser
from tests.e2e.browser.steps import PASSWORD, set_up_app

pytestmark = pytest.mark.browser

LAST = ("revoke", "remove", "cancel", "withdraw", "suspend", "lockdown", "sessions", "quarantine", "lift")
"""What ends a thing comes after all else that is done with it."""
VALUES = {
    "name": "Without scripts", "email": "no.scripts@acme.example", "password": PASSWORD, "password1": PASSWORD,
    "password2": PASSWORD, "reason": "a test", "plugin": "api-logger", "login": "viewer@acme.example", "notes": "None.",
}  # fmt: skip
"""What is typed into a field that must not stay empty."""
NEEDS_SCRIPTS = {"mfa_add_webauthn": "Passkeys need JavaScript"}
"""Passkeys alone; their pages say so, and say what does without."""
NOT_BOOTSTRAPPED = ("There is no active token key", "The signed key set is late")
ANSWERS = {
    "operator-signing-key-replace": NOT_BOOTSTRAPPED, "operator-signing-key-rotate": NOT_BOOTSTRAPPED,
    "operator-lockdown": ("Lockdown: every decision is refused",), "operator-suspend": ("Suspended",),
}  # fmt: skip
"""What the form's answer says in the colour of a refusal: it was what was asked for, or the cast has no keys."""
DEAD = """
const dead = [];
for (const button of document.querySelectorAll("main button, nav button")) {
  if (!button.checkVisibility() || button.hidden) continue;
  if (!(button.form && button.type === "submit")) dead.push(`button ${button.textContent.trim()}`);
}
for (const link of document.querySelectorAll("main a, nav a, header a")) {
  const target = link.getAttribute("href") || "";
  const isInPage = target.startsWith("#") && target.length > 1 && document.getElementById(target.slice(1));
  if (!target || (target.startsWith("#") && !isInPage)) dead.push(`link ${link.textContent.trim()}`);
}
return dead;
"""


@pytest.mark.parametrize("kind", ["person", "customer", "operator", "public"])
def test_every_page_works_without_scripts(kind: str, browser: Browser, become: Any, site: Any) -> None:
    from tests.e2e.browser.pages import visits

    wrong: list[str] = []
    viewer = site.people["viewer"]
    viewer.set_password(PASSWORD)  # whom VALUES signs in
    viewer.save()
    with browser.without_scripts():
        for name, path, person in sorted(visits(site, kind=kind), key=_is_last):
            if person is None:
                browser.forget()
            else:
                person.refresh_from_db()  # a new password ends the sessions of the old one
                become(person)
            browser.open(path)
            wrong += [f"{name}: {finding}" for finding in _try(browser, name)]
    assert not wrong, "\n".join(wrong)


def _is_last(visit: tuple[str, str, Any]) -> tuple[bool, str]:
    return any(word in visit[0] for word in LAST), visit[0]


def _try(browser: Browser, name: str) -> list[str]:
    if name in NEEDS_SCRIPTS:
        return [] if NEEDS_SCRIPTS[name] in browser.text else ["does not say that it needs scripts"]
    if not browser.all("main h1") or "Request id" in browser.text:
        return [f"does not show: {browser.text[:300]}"]
    dead: list[str] = browser.driver.execute_script(DEAD)
    if browser.all("#totp-secret"):
        set_up_app(browser)
    elif not _send_main_form(browser):
        return dead
    refusals = [element.text for element in browser.all("main .error, main .notice.bad, main .notice.error")]
    if "Request id" in browser.text:
        refusals.append(browser.text[:300])
    return dead + [f"refused: {text}" for text in refusals if text and not text.startswith(ANSWERS.get(name, ()))]


def _send_main_form(browser: Browser) -> bool:
    """Fill what has to be filled in the page's first form, and press its button; False if there is no form."""
    forms = [form for form in browser.all("main form") if form.is_displayed()]
    if not forms:
        return False
    for field in forms[0].find_elements("css selector", "input, textarea, select"):
        _fill(browser, field)
    button = forms[0].find_element("css selector", "button:not([type=button])")
    browser.press_this(button)
    return True


def _fill(browser: Browser, field: Any) -> None:
    kind, name = field.get_attribute("type"), field.get_attribute("name")
    if kind in ("hidden", "checkbox") or field.get_attribute("required") is None or field.get_attribute("value"):
        return
    if kind == "radio":
        if not browser.all(f"main [name={name}]:checked"):
            field.click()
    elif field.tag_name != "select":
        field.send_keys(VALUES[name])
