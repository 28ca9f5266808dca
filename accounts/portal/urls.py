"""Pages of `accounts`, and their lines in the menu."""

from allauth.account import views as sign_in
from allauth.mfa.base import views as factors
from allauth.mfa.recovery_codes import views as recovery
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as passkeys
from allauth.usersessions import views as sessions
from django.urls import URLPattern
from django.utils.translation import gettext_lazy as _

from accounts.portal import audit, invitation, key_changes, keys, me, navigation, people, reports, security
from accounts.portal.access import person_page, public_page
from accounts.portal.navigation import CUSTOMER, Entry
from accounts.portal.routes import customer_page_at, page

navigation.declare(
    Entry(CUSTOMER, 20, "keys", _("API keys"), "keys.read", "key"),
    Entry(CUSTOMER, 70, "audit", _("Audit log"), "audit.read", "log"),
    Entry(CUSTOMER, 80, "people", _("People"), "members.read", "people"),
    Entry(CUSTOMER, 90, "security", _("Security"), "security.read", "shield"),
)

_SIGN_IN: list[URLPattern] = [
    page("account/login", public_page(sign_in.login), "account_login"),
    page("account/logout", public_page(sign_in.logout), "account_logout"),
    page("account/inactive", public_page(sign_in.account_inactive), "account_inactive"),
    page("account/reset", public_page(sign_in.password_reset), "account_reset_password"),
    page("account/reset/sent", public_page(sign_in.password_reset_done), "account_reset_password_done"),
    page(
        "account/reset/done", public_page(sign_in.password_reset_from_key_done), "account_reset_password_from_key_done"
    ),
    page("account/reset/<uidb36>/<key>", public_page(me.reset_from_key), "account_reset_password_from_key"),
    page("account/passkey", public_page(passkeys.login_webauthn), "mfa_login_webauthn"),
    page("account/factor", public_page(factors.authenticate), "mfa_authenticate"),
    page("account/invitation/<token>", public_page(invitation.invitation), "invitation"),
    page("account/theme", me.theme, "theme"),
    page("account/reports", reports.reports, "browser-reports"),
]
_PERSON: list[URLPattern] = [
    page("", me.home, "portal-home"),
    page("account", me.me, "me"),
    page("account/again", person_page(sign_in.reauthenticate), "account_reauthenticate"),
    page("account/password", person_page(sign_in.password_change), "account_change_password"),
    page("account/password/set", person_page(sign_in.password_set), "account_set_password"),
    page("account/sessions", person_page(sessions.list_usersessions), "usersessions_list"),
    page("account/sessions/end", me.end_sessions, "end-sessions"),
    page("account/factors", person_page(factors.index), "mfa_index"),
    page("account/factors/again", person_page(factors.reauthenticate), "mfa_reauthenticate"),
    page("account/factors/app", person_page(totp.activate_totp), "mfa_activate_totp"),
    page("account/factors/app/remove", person_page(totp.deactivate_totp), "mfa_deactivate_totp"),
    page(
        "account/factors/codes",
        person_page(me.holding_recovery_codes(recovery.view_recovery_codes)),
        "mfa_view_recovery_codes",
    ),
    page("account/factors/codes/new", person_page(recovery.generate_recovery_codes), "mfa_generate_recovery_codes"),
    page(
        "account/factors/codes/download",
        person_page(me.holding_recovery_codes(recovery.download_recovery_codes)),
        "mfa_download_recovery_codes",
    ),
    page("account/factors/passkeys", person_page(passkeys.list_webauthn), "mfa_list_webauthn"),
    page("account/factors/passkeys/add", person_page(passkeys.add_webauthn), "mfa_add_webauthn"),
    page(
        "account/factors/passkeys/again", person_page(passkeys.reauthenticate_webauthn), "mfa_reauthenticate_webauthn"
    ),
    page("account/factors/passkeys/<pk>/remove", person_page(passkeys.remove_webauthn), "mfa_remove_webauthn"),
    page("account/factors/passkeys/<pk>/edit", person_page(passkeys.edit_webauthn), "mfa_edit_webauthn"),
]
_CUSTOMER: list[URLPattern] = [
    customer_page_at("keys", keys.keys, "keys"),
    customer_page_at("keys/new", key_changes.create, "key-create"),
    customer_page_at("keys/<key_id>", keys.key, "key"),
    customer_page_at("keys/<key_id>/edit", key_changes.edit, "key-edit"),
    customer_page_at("keys/<key_id>/rotate", key_changes.rotate, "key-rotate"),
    customer_page_at("keys/<key_id>/revoke", key_changes.revoke, "key-revoke"),
    customer_page_at("audit", audit.audit, "audit"),
    customer_page_at("audit/export", audit.export, "audit-export"),
    customer_page_at("people", people.people, "people"),
    customer_page_at("people/invite", people.invite, "invite"),
    customer_page_at("people/invitations/<invitation_id>/withdraw", people.withdraw, "invitation-withdraw"),
    customer_page_at("people/<number>", people.member, "member"),
    customer_page_at("people/<number>/remove", people.remove, "member-remove"),
    customer_page_at("security", security.security, "security"),
]
urlpatterns = [*_SIGN_IN, *_PERSON, *_CUSTOMER]
