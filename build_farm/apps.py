from django.apps import AppConfig


class BuildFarmConfig(AppConfig):
    name = "build_farm"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Hear of what is to be built, and of keys that change."""
        from build_farm import checks, subscribers  # noqa: F401  checks register by being imported
        from licensing.core import outbox

        outbox.subscribe("build.requested", subscribers.on_build_requested)
        outbox.subscribe("build.published", subscribers.on_build_published)
        outbox.subscribe("key.issued", subscribers.on_keys_changed)
        outbox.subscribe("key.rotated", subscribers.on_keys_changed)
        outbox.subscribe("key.revoked", subscribers.on_keys_changed)
