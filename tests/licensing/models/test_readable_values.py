"""What raw SQL cannot put into the tables that decisions are read from: one bad row would be everybody's outage."""

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from licensing import selectors
from licensing.models import TierGrant
from tests.licensing.cast import Cast

pytestmark = pytest.mark.django_db

VALUE = "UPDATE tier_grant SET value = %s::jsonb WHERE tier_id = 'Pro' AND feature_id = 'history_days'"
OVERRIDE = (
    "INSERT INTO entitlement (id, customer_id, feature_id, kind, value, source, updated_at)"
    " VALUES ('ent_1', 'cust_123', 'history_days', 'override', %s::jsonb, '', now())"
)
MANIFEST = "INSERT INTO plugin_manifest (plugin_id, version, manifest) VALUES ('api-logger', '2.1.0', %s::jsonb)"
PERIOD_END = "UPDATE subscription SET period_end = %s::timestamptz WHERE customer_id = 'cust_123'"
GRACE = "UPDATE subscription SET grace_until = %s::timestamptz WHERE customer_id = 'cust_123'"
KEY_EXPIRY = "UPDATE api_key SET expires_at = %s::timestamptz WHERE customer_id = 'cust_123'"
BUILD_EXPIRY = "UPDATE build_credential SET expires_at = %s::timestamptz WHERE customer_id = 'cust_123'"
GRANTED = (
    "INSERT INTO entitlement (id, customer_id, feature_id, kind, value, starts_at, ends_at, source, updated_at)"
    " VALUES ('ent_1', 'cust_123', 'history_days', 'temporary', '1', now(), %s::timestamptz, '', now())"
)
BLOCKED = "UPDATE plugin SET blocked_versions = %s::text[] WHERE name = 'api-logger'"
CIDRS = "UPDATE api_key SET cidrs = %s::text[] WHERE customer_id = 'cust_123'"
SCOPES = "UPDATE api_key SET scopes = %s::text[] WHERE customer_id = 'cust_123'"

BAD_JSON = ["null", "[1]", '{"days": 1}', "1.5", "1.0", "1e400", "12345678901234567"]


def run(sql: str, value: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, [value])


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        *[(VALUE, value) for value in BAD_JSON],
        *[(OVERRIDE, value) for value in BAD_JSON],
        *[(MANIFEST, value) for value in ("null", "[]", '"text"', "1")],
        *[
            (sql, value)
            for sql in (PERIOD_END, GRACE, KEY_EXPIRY, BUILD_EXPIRY, GRANTED)
            for value in ("infinity", "10000-01-01 00:00:00+00")
        ],
        *[(sql, "-infinity") for sql in (GRACE, KEY_EXPIRY, BUILD_EXPIRY)],
        *[(sql, "{NULL}") for sql in (BLOCKED, CIDRS, SCOPES)],
    ],
)
def test_a_value_that_no_snapshot_can_hold_is_refused(cast: Cast, sql: str, value: str) -> None:
    with pytest.raises(IntegrityError, match="check constraint"):
        run(sql, value)


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        *[(VALUE, value) for value in ("true", "false", "0", "-1", "9007199254740992", '""', '"a\\nb \\u2028 \\" c"')],
        (OVERRIDE, '"text"'),
        (MANIFEST, "{}"),
        *[(sql, "9999-12-31 23:59:59.999999+00") for sql in (PERIOD_END, GRACE, KEY_EXPIRY, BUILD_EXPIRY, GRANTED)],
        *[(sql, "{}") for sql in (BLOCKED, CIDRS)],
        (BLOCKED, "{1.0.0,2.0.0}"),
    ],
)
def test_what_is_accepted_can_be_read(cast: Cast, sql: str, value: str) -> None:
    run(sql, value)

    assert "Pro" in selectors.load_catalogue().tiers
    assert selectors.load_customer("cust_123") is not None


def test_a_form_tells_of_a_bad_value_before_the_database_does(cast: Cast) -> None:
    grant = TierGrant.objects.get(tier_id="Pro", feature_id="history_days")
    grant.value = [1]

    with pytest.raises(ValidationError, match="tier_grant_value_typed"):
        grant.full_clean()

    grant.value = 31
    grant.full_clean()
