"""Turns a piece of an evaluation into what comes of it and what the process held meanwhile; imports nothing else."""

from __future__ import annotations

import os

import msgspec

from bench.processes import peak_mib
from shared.evaluation.scoring import score


def measured(piece: bytes) -> bytes:
    """As the message of a pair: the most memory that this process has had, in MiB, and what comes of the piece."""
    scored = score(piece)
    return msgspec.msgpack.encode((peak_mib(os.getpid()), scored))
