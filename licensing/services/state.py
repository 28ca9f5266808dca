"""Where decisions get their snapshots."""

from dataclasses import dataclass

from licensing import selectors
from licensing.rules.snapshot import Catalogue, CustomerSnapshot


@dataclass(frozen=True, slots=True)
class State:
    """The state one decision rests on."""

    def catalogue(self) -> Catalogue:
        """The catalogue as it is now."""
        return selectors.load_catalogue()

    def customer(self, customer_id: str) -> CustomerSnapshot | None:
        """The customer as it is now; None if there is none."""
        return selectors.load_customer(customer_id)
