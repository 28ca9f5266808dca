from django.apps import AppConfig


class BuildFarmConfig(AppConfig):
    name = "build_farm"
    default_auto_field = "django.db.models.BigAutoField"
