"""`GET /api/registry/builds/{id}/keys`: the signed key-slot file of a build (DESIGN §8)."""

from typing import ClassVar

from django.db import transaction
from django.http import HttpResponse

from build_farm import selectors
from build_farm.services.key_slots import current_slots
from licensing.core.api.operations import Call, operation
from licensing.core.errors import NotFound, ServiceUnavailable
from licensing.models import BuildCredential
from registry.api.hosts import RegistryView
from registry.services.visitors import DOWNLOAD

CONTENT_TYPE = "application/jose"
_RETRY_SECONDS = 2


class BuildKeySlots(RegistryView):
    """A build's secret, sealed for each of its customer's keys."""

    scope: ClassVar[str] = DOWNLOAD

    @operation("Get a build's key slots", action=DOWNLOAD, answers={200: None}, media_types=(CONTENT_TYPE,))
    def get(self, call: Call, build_id: str) -> HttpResponse:
        """A compact JWS that holds every key of now. 503 for the moment that it takes to sign a new one."""
        build = selectors.build(build_id, customer_id=call.customer_id)
        if not BuildCredential.objects.filter(pk=build.id).exists():
            raise NotFound()  # never published
        with transaction.atomic():
            jws = current_slots(build_id=build.id, customer_id=call.customer_id, now=call.now)
        if jws is None:
            raise ServiceUnavailable(
                "The key slots are being signed; ask again in a moment.", retry_after_seconds=_RETRY_SECONDS
            )
        return HttpResponse(jws, content_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})
