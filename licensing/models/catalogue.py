"""The catalogue: what the vendor sells. Every row here shapes decisions for all customers."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower, Now

from accounts.models import Customer
from licensing.core.constraints import has_no_null, is_feature_value, is_json_object

FEATURE_CODE_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"
PLUGIN_NAME_PATTERN = r"^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$"
TIER_NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9 _-]{0,31}$"


def granted() -> bool:
    """The value of a feature that has none: it is simply there."""
    return True


class Feature(models.Model):
    """Something that can be switched on for a customer, with an optional typed value."""

    class ValueType(models.TextChoices):
        """What a grant of the feature holds."""

        BOOL = "bool"
        INT = "int"
        STR = "str"

    code = models.CharField(max_length=63, primary_key=True, validators=[RegexValidator(FEATURE_CODE_PATTERN)])
    name = models.CharField(max_length=100, blank=True)
    description = models.CharField(max_length=500, blank=True)
    value_type = models.CharField(max_length=4, choices=ValueType, default=ValueType.BOOL)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "feature"
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(code__regex=FEATURE_CODE_PATTERN), name="feature_code_shape"),
            models.CheckConstraint(
                condition=models.Q(value_type__in=["bool", "int", "str"]), name="feature_value_type_known"
            ),
        ]

    def __str__(self) -> str:
        return self.code


class Tier(models.Model):
    """A level of subscription; a higher rank includes what asks for a lower one."""

    name = models.CharField(max_length=32, primary_key=True, validators=[RegexValidator(TIER_NAME_PATTERN)])
    rank = models.PositiveIntegerField(unique=True)
    description = models.CharField(max_length=500, blank=True)
    requests_per_minute = models.PositiveIntegerField(
        default=60, help_text="A customer's allowance for a plugin's own work, kept by the plugin."
    )
    events_per_day = models.PositiveBigIntegerField(default=10_000)
    installation_limit = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Installations allowed unless the subscription says otherwise; null: no limit.",
    )
    features = models.ManyToManyField(Feature, through="TierGrant", related_name="tiers")
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "tier"
        constraints: ClassVar = [models.UniqueConstraint(Lower("name"), name="tier_name_once")]

    def __str__(self) -> str:
        return self.name


class TierGrant(models.Model):
    """A feature that a tier grants, with its value (JSON of the feature's type)."""

    tier = models.ForeignKey(Tier, on_delete=models.CASCADE, related_name="grants")
    feature = models.ForeignKey(Feature, on_delete=models.PROTECT, related_name="tier_grants")
    value = models.JSONField(default=granted)

    class Meta:
        db_table = "tier_grant"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tier", "feature"], name="tier_grant_once"),
            models.CheckConstraint(condition=is_feature_value("value"), name="tier_grant_value_typed"),
        ]

    def __str__(self) -> str:
        return f"{self.tier_id}: {self.feature_id}"


class Plugin(models.Model):
    """A licensable program. A private one exists only for the customers on its allow-list."""

    class Proof(models.TextChoices):
        """Whether a request must prove which build it comes from (DESIGN §5, request proof)."""

        OPTIONAL = "optional"
        REQUIRED = "required"

    name = models.CharField(max_length=64, primary_key=True, validators=[RegexValidator(PLUGIN_NAME_PATTERN)])
    description = models.CharField(max_length=500, blank=True)
    required_tier = models.ForeignKey(Tier, on_delete=models.PROTECT, related_name="plugins")
    features = models.ManyToManyField(Feature, blank=True, related_name="plugins", db_table="plugin_feature")
    is_private = models.BooleanField(default=False)
    accepts_unsigned = models.BooleanField(
        default=False, help_text="Serve callers without a signature: for vendors that ship one binary to all."
    )
    installation_required = models.BooleanField(
        default=False,
        help_text="Refuse requests that name no installation: many machines could hide behind them.",
    )
    proof = models.CharField(max_length=8, choices=Proof, default=Proof.OPTIONAL)
    lease_seconds = models.PositiveIntegerField(
        default=72 * 3600, help_text="How long an offline lease lasts; 0 gives none."
    )
    minimum_version = models.CharField(max_length=64, blank=True)
    blocked_versions = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    rate_limit = models.PositiveIntegerField(
        null=True, blank=True, help_text="Requests a minute of the plugin's own work; null: as the tier says."
    )
    quota = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Events a day of the plugin's own work; null: as the tier says."
    )
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "plugin"
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(name__regex=PLUGIN_NAME_PATTERN), name="plugin_name_shape"),
            models.CheckConstraint(condition=has_no_null("blocked_versions"), name="plugin_blocked_versions_whole"),
        ]

    def __str__(self) -> str:
        return self.name


class PluginManifest(models.Model):
    """What one version of a plugin may do on a host: permissions, limits, allow-lists (see licensing.rules)."""

    plugin = models.ForeignKey(Plugin, on_delete=models.CASCADE, related_name="manifests")
    version = models.CharField(max_length=64)
    manifest = models.JSONField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "plugin_manifest"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["plugin", "version"], name="plugin_manifest_once"),
            models.CheckConstraint(condition=is_json_object("manifest"), name="plugin_manifest_object"),
        ]

    def __str__(self) -> str:
        return f"{self.plugin_id} {self.version}"


class PluginAccess(models.Model):
    """A private plugin's allow-list: one row a customer that may see it."""

    plugin = models.ForeignKey(Plugin, on_delete=models.CASCADE, related_name="access")
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="plugin_access")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "plugin_access"
        constraints: ClassVar = [models.UniqueConstraint(fields=["plugin", "customer"], name="plugin_access_once")]

    def __str__(self) -> str:
        return f"{self.plugin_id}: {self.customer_id}"


class Lockdown(models.Model):
    """The operator's global switch: while a row is here, every decision is LOCKDOWN. At most one row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    reason = models.CharField(max_length=500, blank=True)
    started_at = models.DateTimeField(db_default=Now())
    started_by = models.CharField(max_length=80, blank=True)

    class Meta:
        db_table = "lockdown"
        constraints: ClassVar = [models.CheckConstraint(condition=models.Q(id=1), name="lockdown_once")]

    def __str__(self) -> str:
        return f"since {self.started_at}"
