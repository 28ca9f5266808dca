"""Reads a Dockerfile as far as ours goes: stages, their instructions, their commands."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    """One instruction: `COPY`, and the rest of its lines joined."""

    name: str
    text: str


@dataclass
class Stage:
    """One stage: what it is made from, and its instructions with those of the stages it builds on."""

    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """The texts of every instruction of a kind, in order."""
        return [instruction.text for instruction in self.instructions if instruction.name == name]

    @property
    def user(self) -> str:
        """Who its containers run as."""
        return self.all("USER")[-1]

    @property
    def command(self) -> list[str]:
        """What they run."""
        found: list[str] = json.loads(self.all("CMD")[-1])
        return found


def read_stages(path: Path) -> dict[str, Stage]:
    """The stages of a Dockerfile by name, with ARGs of its head put in."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE))
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    current: Stage | None = None
    for line in filter(None, (line.strip() for line in joined.splitlines())):
        name, _, text = line.partition(" ")
        text = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match.group(1)], text) if name == "FROM" else text.strip()
        if name == "ARG" and current is None:
            key, _, value = text.partition("=")
            arguments[key] = value
        elif name == "FROM":
            base, _, stage = text.partition(" AS ")
            inherited = list(stages[base].instructions) if base in stages else []
            current = stages[stage] = Stage(stage, base, inherited)
        else:
            assert current is not None
            current.instructions.append(Instruction(name, text))
    return stages
