"""Pages of `licensing`, and their lines in the menus."""

from django.urls import URLPattern
from django.utils.translation import gettext_lazy as _

from accounts.portal import key_users, navigation
from accounts.portal.navigation import CUSTOMER, OPERATOR, Entry
from accounts.portal.routes import customer_page_at, page
from licensing.portal import (
    installations,
    operator,
    operator_customers,
    operator_keys,
    overview,
    plugins,
    reads,
    usage,
)

key_users.answered_by(reads.users_of_key)
navigation.declare(
    Entry(CUSTOMER, 10, "overview", _("Overview"), "customer.read", "overview"),
    Entry(CUSTOMER, 30, "installations", _("Installations"), "installations.read", "machine"),
    Entry(CUSTOMER, 40, "plugins", _("Plugins"), "plugins.read", "plugin"),
    Entry(CUSTOMER, 60, "usage", _("Usage"), "usage.read", "usage"),
    Entry(OPERATOR, 10, "operator-live", _("Live"), "manage.customers.read", "live"),
    Entry(OPERATOR, 20, "operator-customers", _("Customers"), "manage.customers.read", "building"),
    Entry(OPERATOR, 50, "operator-quarantines", _("Quarantine"), "manage.quarantines.read", "stop"),
    Entry(OPERATOR, 60, "operator-lockdown", _("Lockdown"), "manage.lockdown.write", "lock"),
    Entry(OPERATOR, 70, "operator-signing-keys", _("Signing keys"), "manage.signing_keys.read", "sign"),
    Entry(OPERATOR, 80, "operator-audit", _("Audit log"), "manage.audit.read", "log"),
    Entry(OPERATOR, 90, "admin:index", _("Records"), "manage.customers.read", "box"),
)

_CUSTOMER: list[URLPattern] = [
    customer_page_at("", overview.overview, "overview"),
    customer_page_at("installations", installations.installations, "installations"),
    customer_page_at("installations/export", installations.export, "installations-export"),
    customer_page_at("installations/<installation_id>", installations.installation, "installation"),
    customer_page_at("installations/<installation_id>/release", installations.release, "installation-release"),
    customer_page_at("installations/<installation_id>/quarantine", installations.isolate, "installation-quarantine"),
    customer_page_at("installations/<installation_id>/lift", installations.lift, "installation-lift"),
    customer_page_at("plugins", plugins.plugins, "plugins"),
    customer_page_at("plugins/<plugin>", plugins.plugin, "plugin"),
    customer_page_at("usage", usage.usage, "usage"),
    customer_page_at("usage/export", usage.export, "usage-export"),
]
_OPERATOR: list[URLPattern] = [
    page("operator", operator.live, "operator-live"),
    page("operator/customers", operator_customers.customers, "operator-customers"),
    page("operator/customers/<customer_id>", operator_customers.customer, "operator-customer"),
    page("operator/customers/<customer_id>/suspend", operator_customers.suspend, "operator-suspend"),
    page("operator/customers/<customer_id>/look-on", operator_customers.look_on, "operator-view"),
    page("operator/look-on/stop", operator_customers.stop_looking_on, "operator-view-stop"),
    page("operator/quarantines", operator.quarantines, "operator-quarantines"),
    page("operator/quarantines/new", operator.quarantine_new, "operator-quarantine-new"),
    page("operator/quarantines/<quarantine_id>/lift", operator.quarantine_lift, "operator-quarantine-lift"),
    page("operator/lockdown", operator.lockdown, "operator-lockdown"),
    page("operator/signing-keys", operator_keys.signing_keys, "operator-signing-keys"),
    page("operator/signing-keys/<purpose>/rotate", operator_keys.rotate, "operator-signing-key-rotate"),
    page("operator/signing-keys/<purpose>/replace", operator_keys.replace, "operator-signing-key-replace"),
    page("operator/audit", operator.audit, "operator-audit"),
]
urlpatterns = [*_CUSTOMER, *_OPERATOR]
