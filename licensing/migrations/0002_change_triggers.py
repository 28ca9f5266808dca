"""Have every change of what decisions rest on heard by all web processes at once (DESIGN §7)."""

from django.db import migrations

from licensing.snapshots.triggers import install_triggers_sql, remove_triggers_sql

# Table: the column of the customer whom a row concerns (None: the catalogue), and which changes matter.
OF_CUSTOMERS = {
    "customer": {
        "customer_column": "id",
        "when_changed": ["name", "suspended_at", "proof_required"],
    },
    "api_key": {
        "customer_column": "customer_id",
        "when_changed": ["digest", "mode", "scopes", "cidrs", "expires_at", "revoked_at"],
    },
    "subscription": {"customer_column": "customer_id"},
    "entitlement": {"customer_column": "customer_id"},
    "plugin_access": {"customer_column": "customer_id"},
    "generation": {"customer_column": "customer_id"},
    "quarantine": {"customer_column": "customer_id", "null_is_catalogue": True},
}
OF_THE_CATALOGUE = (
    "lockdown",
    "tier",
    "tier_grant",
    "feature",
    "plugin",
    "plugin_feature",
    "plugin_manifest",
    "signing_key",
    "signed_key_set",
)


def _operations() -> list[migrations.RunSQL]:
    wanted = {**OF_CUSTOMERS, **{table: {"customer_column": None} for table in OF_THE_CATALOGUE}}
    return [
        migrations.RunSQL(install_triggers_sql(table, **options), remove_triggers_sql(table))
        for table, options in wanted.items()
    ]


class Migration(migrations.Migration):
    dependencies = [("licensing", "0001_initial"), ("accounts", "0001_initial")]
    operations = _operations()
