"""docs/roles.md shows the table that decides."""

from pathlib import Path

from accounts.models import Role
from accounts.permissions import TABLE

PAGE = Path(__file__).resolve().parents[3] / "docs" / "roles.md"


def test_the_documented_table_is_the_one_that_decides() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    documented = {}
    for line in lines:
        action, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        documented[action.strip("`")] = {role for role, cell in zip(Role, cells, strict=True) if cell == "yes"}
    assert documented == {action: set(roles) for action, roles in TABLE.items()}
