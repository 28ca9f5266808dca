"""Tiers of the catalogue, and the features that they grant."""

from collections.abc import Mapping
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from licensing.core.actor import Actor
from licensing.core.errors import Conflict, InvalidValue
from licensing.models import Feature, Tier, TierGrant
from licensing.services.catalogue_record import record_catalogue_change
from licensing.services.entitlements import checked_value

CHANGEABLE: Final = ("rank", "description", "requests_per_minute", "events_per_day", "installation_limit")


def create_tier(*, name: str, settings: Mapping[str, Any], features: Mapping[str, object], actor: Actor) -> Tier:
    """Make a tier that grants `features` (code → value); `settings` are those of CHANGEABLE.

    Raises:
        InvalidValue: an unknown feature, or a value that is not of its type.
        Conflict: the name, in whatever case, or the rank is taken.
    """
    with transaction.atomic():
        row = Tier(name=name, **{each: settings[each] for each in CHANGEABLE if each in settings})
        _save(row, force_insert=True)
        _set_grants(row, features)
        record_catalogue_change(
            kind="tier", subject_id=name, change="created", actor=actor, detail={"features": dict(features)}
        )
    return row


def update_tier(*, tier: Tier, changes: Mapping[str, Any], features: Mapping[str, object] | None, actor: Actor) -> Tier:
    """Change what `changes` names, of CHANGEABLE; `features`, where given, becomes exactly what the tier grants.

    Raises:
        InvalidValue, Conflict: as `create_tier`.
    """
    with transaction.atomic():
        row = Tier.objects.select_for_update().get(pk=tier.pk)
        changed = {
            name: changes[name] for name in CHANGEABLE if name in changes and changes[name] != getattr(row, name)
        }
        for name, value in changed.items():
            setattr(row, name, value)
        has_new_grants = features is not None and _set_grants(row, features)
        if not changed and not has_new_grants:
            return row
        _save(row)
        detail = changed | ({"features": dict(features)} if features is not None and has_new_grants else {})
        record_catalogue_change(kind="tier", subject_id=row.name, change="changed", actor=actor, detail=detail)
    return row


def remove_tier(*, tier: Tier, actor: Actor) -> None:
    """Remove a tier that nobody has and no plugin requires.

    Raises:
        Conflict: somebody does.
    """
    with transaction.atomic():
        row = Tier.objects.select_for_update().get(pk=tier.pk)
        record_catalogue_change(kind="tier", subject_id=row.name, change="removed", actor=actor)
        try:
            row.delete()
        except ProtectedError as exc:
            raise Conflict("A subscription has this tier, or a plugin requires it.") from exc


def _save(row: Tier, *, force_insert: bool = False) -> None:
    try:
        with transaction.atomic():
            row.save(force_insert=force_insert)
    except IntegrityError as exc:
        is_rank = Tier.objects.filter(rank=row.rank).exclude(pk=row.pk).exists()
        field = "rank" if is_rank else "name"
        raise Conflict(f"There is a tier of this {field} already.", field=field) from exc


def _set_grants(row: Tier, wanted: Mapping[str, object]) -> bool:
    """Make the tier grant exactly `wanted`; whether that changed anything."""
    features = {feature.code: feature for feature in Feature.objects.filter(pk__in=list(wanted))}
    present = {grant.feature_id: grant for grant in TierGrant.objects.select_for_update().filter(tier=row)}
    values = {}
    for code, value in wanted.items():
        field = f"features.{code}"
        if code not in features:
            raise InvalidValue(f"{field}: there is no such feature.", field=field)
        values[code] = checked_value(features[code], value, field=field)
    kept = {code for code, grant in present.items() if code in values and _same(grant.value, values[code])}
    gone = [grant.pk for code, grant in present.items() if code not in kept]
    new = [
        TierGrant(tier=row, feature=features[code], value=value) for code, value in values.items() if code not in kept
    ]
    TierGrant.objects.filter(pk__in=gone).delete()
    TierGrant.objects.bulk_create(new)
    return bool(gone or new)


def _same(one: object, other: object) -> bool:
    """Whether two values are the same; to Python alone `True` equals 1."""
    return type(one) is type(other) and one == other
