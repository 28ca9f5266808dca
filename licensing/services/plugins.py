"""Plugins of the catalogue: what they require, whom they serve, and the manifests of their versions."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from accounts.models import Customer
from licensing.core.actor import Actor
from licensing.core.changes import announce
from licensing.core.errors import Conflict, InvalidValue
from licensing.models import BuildCredential, Installation, Plugin, PluginAccess, PluginManifest, Tier
from licensing.rules.manifests import ManifestInvalid, parse_manifest
from licensing.rules.versions import parse_version
from licensing.services.catalogue_record import record_catalogue_change
from licensing.services.features import features_named

CHANGEABLE: Final = (
    "description",
    "is_private",
    "accepts_unsigned",
    "installation_required",
    "proof",
    "lease_seconds",
    "minimum_version",
    "blocked_versions",
    "rate_limit",
    "quota",
)


def create_plugin(*, name: str, settings: Mapping[str, Any], actor: Actor) -> Plugin:
    """Make a plugin; `settings` as for `update_plugin`, `required_tier` among them.

    Raises:
        InvalidValue: naming the field.
        Conflict: there is one of this name.
    """
    with transaction.atomic():
        row = Plugin(name=name, required_tier=_tier(settings["required_tier"]))
        for field in CHANGEABLE:
            if field in settings:
                setattr(row, field, settings[field])
        _check_versions(row)
        try:
            with transaction.atomic():
                row.save(force_insert=True)
        except IntegrityError as exc:
            raise Conflict("There is a plugin of this name already.", field="name") from exc
        _set_features(row, settings.get("features", ()))
        _set_access(row, settings.get("allowed_customers", ()))
        record_catalogue_change(kind="plugin", subject_id=name, change="created", actor=actor)
    return row


def update_plugin(*, plugin: Plugin, changes: Mapping[str, Any], actor: Actor) -> Plugin:
    """Change what `changes` names: CHANGEABLE, `required_tier`, `features` and `allowed_customers` (each as a whole).

    Raises:
        InvalidValue: naming the field.
    """
    with transaction.atomic():
        row = Plugin.objects.select_for_update().get(pk=plugin.pk)
        changed = [name for name in CHANGEABLE if name in changes and changes[name] != getattr(row, name)]
        for name in changed:
            setattr(row, name, changes[name])
        if "required_tier" in changes and changes["required_tier"] != row.required_tier_id:
            row.required_tier = _tier(changes["required_tier"])
            changed.append("required_tier")
        _check_versions(row)
        if "features" in changes and _set_features(row, changes["features"]):
            changed.append("features")
        if "allowed_customers" in changes and _set_access(row, changes["allowed_customers"]):
            changed.append("allowed_customers")
        if not changed:
            return row
        row.save()
        detail = {"changed": sorted(changed)}
        record_catalogue_change(kind="plugin", subject_id=row.name, change="changed", actor=actor, detail=detail)
    return row


def remove_plugin(*, plugin: Plugin, actor: Actor) -> None:
    """Remove a plugin that was never installed nor built.

    Raises:
        Conflict: it was; quarantine it instead.
    """
    with transaction.atomic():
        row = Plugin.objects.select_for_update().get(pk=plugin.pk)
        is_out = Installation.objects.filter(plugin=row).exists() or BuildCredential.objects.filter(plugin=row).exists()
        if is_out:
            raise Conflict("The plugin has installations or builds; quarantine it instead of removing it.")
        record_catalogue_change(kind="plugin", subject_id=row.name, change="removed", actor=actor)
        try:
            row.delete()
        except ProtectedError as exc:
            raise Conflict("The plugin has releases; quarantine it instead of removing it.") from exc


def set_manifest(*, plugin: Plugin, version: str, manifest: Mapping[str, Any], actor: Actor) -> PluginManifest:
    """Make `manifest`, in any written form, the permission manifest of one version.

    Raises:
        InvalidValue: naming the field; or the version is not a semantic one.
    """
    if parse_version(version) is None:
        raise InvalidValue("version: not a semantic version (such as 2.1.0).", field="version")
    try:
        canonical = parse_manifest(manifest)
    except ManifestInvalid as exc:
        raise InvalidValue(f"{exc.field}: {exc.detail}.", field=exc.field) from exc
    with transaction.atomic():
        Plugin.objects.select_for_update(no_key=True).get(pk=plugin.pk)
        row = PluginManifest.objects.filter(plugin=plugin, version=version).first()
        if row is not None and row.manifest == canonical:
            return row
        row = row or PluginManifest(plugin=plugin, version=version)
        row.manifest = canonical
        row.save()
        _record_manifest(row, "manifest_set", actor)
    return row


def remove_manifest(*, manifest: PluginManifest, actor: Actor) -> None:
    """Remove the manifest of one version."""
    with transaction.atomic():
        Plugin.objects.select_for_update(no_key=True).get(pk=manifest.plugin_id)
        row = PluginManifest.objects.filter(pk=manifest.pk).first()
        if row is not None:
            _record_manifest(row, "manifest_removed", actor)
            row.delete()


def _record_manifest(row: PluginManifest, change: str, actor: Actor) -> None:
    detail = {"version": row.version}
    record_catalogue_change(kind="plugin", subject_id=row.plugin_id, change=change, actor=actor, detail=detail)


def _tier(name: str) -> Tier:
    row = Tier.objects.filter(pk=name).first()
    if row is None:
        raise InvalidValue("required_tier: there is no such tier.", field="required_tier")
    return row


def _check_versions(row: Plugin) -> None:
    if row.minimum_version and parse_version(row.minimum_version) is None:
        raise InvalidValue("minimum_version: not a semantic version (such as 2.1.0).", field="minimum_version")


def _set_features(row: Plugin, codes: Sequence[str]) -> bool:
    """Make the plugin list exactly these features, in this order; whether that changed anything."""
    wanted = features_named(codes, field="features")
    present = list(Plugin.features.through.objects.filter(plugin_id=row.pk).order_by("pk"))
    if [link.feature_id for link in present] == [feature.code for feature in wanted]:
        return False
    # Their order is that of the rows: a plugin's features are shown as its vendor lists them.
    row.features.clear()
    for feature in wanted:
        row.features.add(feature)
    return True


def _set_access(row: Plugin, customer_ids: Sequence[str]) -> bool:
    """Make the allow-list exactly these customers; whether that changed anything."""
    wanted = set(customer_ids)
    known = set(Customer.objects.filter(pk__in=wanted).values_list("pk", flat=True))
    for index, customer_id in enumerate(customer_ids):
        if customer_id not in known:
            field = f"allowed_customers[{index}]"
            raise InvalidValue(f"{field}: there is no such customer.", field=field)
    present = set(PluginAccess.objects.filter(plugin=row).values_list("customer_id", flat=True))
    PluginAccess.objects.filter(plugin=row, customer_id__in=present - wanted).delete()
    PluginAccess.objects.bulk_create(PluginAccess(plugin=row, customer_id=each) for each in sorted(wanted - present))
    for customer_id in present ^ wanted:
        announce(customer_id)
    return present != wanted
