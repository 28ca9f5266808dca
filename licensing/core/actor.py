"""Who acts: every write and every audit row names one."""

from dataclasses import dataclass
from typing import Literal

ActorKind = Literal["api_key", "plugin_token", "operator", "person", "registry_token", "system"]


@dataclass(frozen=True, slots=True)
class Actor:
    """The one who acts, and where the request came from.

    `id` is an identifier (key id, user id, installation id, or the name of a system job), never a credential.
    """

    kind: ActorKind
    id: str
    source_address: str | None = None
    request_id: str = ""
    display: str = ""


def system(name: str) -> Actor:
    """Return the actor of a job of ours, such as `sweep`."""
    return Actor("system", name)
