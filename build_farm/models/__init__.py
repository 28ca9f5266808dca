"""Tables of `build_farm`, one module a subject."""

from build_farm.models.build import Build
from build_farm.models.key_slots import KeySlotFile
from build_farm.models.source import SourceArchive

__all__ = ["Build", "KeySlotFile", "SourceArchive"]
