"""Django's settings for code that reads them for every request: each is looked up once, until a test changes one."""

from typing import Any

from django.conf import settings
from django.core.signals import setting_changed


class HotSettings:
    """As `django.conf.settings`, without its look-up, which costs as much as a rule."""

    def __getattr__(self, name: str) -> Any:
        value = self.__dict__[name] = getattr(settings, name)
        return value


hot_settings = HotSettings()


def _forget(**_: object) -> None:
    hot_settings.__dict__.clear()


setting_changed.connect(_forget)
