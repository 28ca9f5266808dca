"""When a subscription is active: computed from the row and the instant, so that no job has to run for it."""

import math

import msgspec

from licensing.rules import codes
from licensing.rules.snapshot import Subscription

DEFAULT_GRACE_SECONDS = 7 * 86400


class Standing(msgspec.Struct, frozen=True, gc=False):
    """How a subscription stands at one instant.

    `code` is VALID or the reason why not; `access_until` the instant at which access ends if nothing changes;
    `grace_until` is set while the customer lives on grace.
    """

    code: str
    access_until: float
    grace_until: float | None = None

    @property
    def is_active(self) -> bool:
        """Whether the customer may use what it has paid for."""
        return self.code == codes.VALID


def standing(subscription: Subscription | None, now: float, *, grace_seconds: int = DEFAULT_GRACE_SECONDS) -> Standing:
    """Work out the standing at `now` (DESIGN §5).

    `trialing` lasts until the trial ends, `canceled` until the paid period ends, `past_due` until its grace does, and
    `active` past its period counts as `past_due`. The instant of an end belongs to the "after".

    Ends count by the whole second, rounded down: tokens and leases can say no other, and must not outlast them.
    """
    if subscription is None:
        return Standing(codes.SUBSCRIPTION_NONE, 0)
    if subscription.status == "paused":
        return Standing(codes.SUBSCRIPTION_PAUSED, 0)
    end = math.floor(subscription.period_end)
    set_end = subscription.grace_until
    grace_end = end + grace_seconds if set_end is None else math.floor(set_end)
    match subscription.status:
        case "trialing" | "canceled":
            return _until(end, now)
        case "active" if now < end:
            # A grace that was set to end early shortens nothing that is paid for.
            return Standing(codes.VALID, max(end, grace_end))
        case "active" | "past_due":
            return _until(grace_end, now, in_grace=True)
    return Standing(codes.SUBSCRIPTION_EXPIRED, end)


def _until(end: float, now: float, *, in_grace: bool = False) -> Standing:
    if now >= end:
        return Standing(codes.SUBSCRIPTION_EXPIRED, end)
    return Standing(codes.VALID, end, end if in_grace else None)
