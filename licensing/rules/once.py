"""A property that is worked out once: `functools.cached_property` without its lock, which costs more than a rule."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")
Owner = TypeVar("Owner")


class once(Generic[Owner, T]):  # noqa: N801  a decorator
    """Keep what a method of an immutable value returns in that value's `__dict__`."""

    def __init__(self, work_out: Callable[[Owner], T]) -> None:
        self._work_out = work_out
        self._name = work_out.__name__
        self.__doc__ = work_out.__doc__

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> "once[Owner, T]": ...

    @overload
    def __get__(self, instance: Owner, owner: type[Any]) -> T: ...

    def __get__(self, instance: Owner | None, owner: type[Any]) -> "once[Owner, T] | T":
        """Called where the instance does not have it yet."""
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._work_out(instance)
        return value
