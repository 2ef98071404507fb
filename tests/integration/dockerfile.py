"""Turns the Dockerfile into its instructions, and these into the same steps on this machine, without Docker."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.integration.served import ROOT

KNOWN = {"COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "STOPSIGNAL", "USER", "WORKDIR"}


class Instruction(NamedTuple):
    """One instruction, and the stage it belongs to, counted from 0."""

    stage: int
    name: str
    value: str


def instructions(text: str) -> list[Instruction]:
    """Read a Dockerfile; `ValueError` for an instruction that these tests know nothing of."""
    found: list[Instruction] = []
    stage = -1
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, value = line.strip().partition(" ")
        if name not in KNOWN:
            raise ValueError(f"{name} is no instruction that is checked")
        stage += name == "FROM"
        found.append(Instruction(stage, name, value.strip()))
    return found


def context(ignore: str, names: list[str]) -> list[str]:
    """The files that a build is given, by .dockerignore: its last line that fits one decides.

    Of its patterns these are understood: a name with or without stars, at the top or, behind `**/`, anywhere.
    """
    lines = [line for line in ignore.splitlines() if line and not line.startswith("#")]

    def given(name: str) -> bool:
        kept = True
        for line in lines:
            pattern = line.lstrip("!")
            anywhere, pattern = pattern.startswith("**/"), pattern.removeprefix("**/")
            expression = re.escape(pattern).replace(r"\*", "[^/]*")
            if re.match(rf"(?:.*/)?{expression}(?:/|$)" if anywhere else rf"{expression}(?:/|$)", name):
                kept = line.startswith("!")
        return kept

    return [name for name in names if given(name)]


class Image:
    """An image's file system below a folder, as far as its instructions make it."""

    def __init__(self, text: str, ignore: str, names: list[str], root: Path) -> None:
        """Take the two files, the names of all files that could be copied, and an empty folder."""
        self.steps = instructions(text)
        self.root = root
        self._names = context(ignore, names)

    def here(self, text: str) -> str:
        """A command of the image's, on this machine."""
        text = re.sub(r"(^|[\s\"])(/(?:app|venv|tmp/rankloop))(?=[/\s\"]|$)", rf"\1{self.root}\2", text)
        return re.sub(r"(^|&& )pip ", rf"\1{sys.executable} -m pip ", re.sub(r"^python ", f"{sys.executable} ", text))

    def environment(self, stage: int) -> dict[str, str]:
        """What ENV sets in a stage."""
        values = [step.value for step in self.steps if (step.stage, step.name) == (stage, "ENV")]
        return {
            name: self.here(value) for name, _, value in (each.partition("=") for v in values for each in v.split())
        }

    def copy(self, stage: int) -> None:
        """Do the COPY instructions of a stage that take files from the context."""
        app = self.root / "app"
        for step in self.steps:
            if (step.stage, step.name) == (stage, "COPY") and not step.value.startswith("--from="):
                *sources, _ = step.value.split()
                for name in self._sources(sources):
                    (app / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(ROOT / name, app / name)

    def _sources(self, sources: list[str]) -> Iterator[str]:
        for source in sources:
            found = [name for name in self._names if source in (".", name)]
            if not found:
                raise ValueError(f"COPY {source}: .dockerignore keeps it out, or there is none")
            yield from found

    def run(self, stage: int, number: int) -> subprocess.CompletedProcess[str]:
        """Do one RUN instruction of a stage."""
        lines = [step.value for step in self.steps if (step.stage, step.name) == (stage, "RUN")]
        return subprocess.run(
            ["/bin/sh", "-c", self.here(lines[number])],
            cwd=self.root / "app",
            capture_output=True,
            text=True,
            check=False,
        )

    def entry(self) -> list[str]:
        """The command that the image starts."""
        (step,) = [step for step in self.steps if step.name == "ENTRYPOINT"]
        found: list[str] = json.loads(self.here(step.value))
        return found

    def health(self) -> list[str]:
        """The command by which Docker asks whether it is well."""
        (step,) = [step for step in self.steps if step.name == "HEALTHCHECK"]
        found: list[str] = json.loads(self.here(step.value.partition(" CMD ")[2]))
        return found


def inherited(added: Mapping[str, str]) -> dict[str, str]:
    """An environment that knows nothing of this repository."""
    return {"PATH": os.environ["PATH"], **added}
