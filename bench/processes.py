"""Turns a process's id into what it has taken of the machine's memory, as Linux counts it."""

from __future__ import annotations

from pathlib import Path


def peak_mib(pid: int) -> float:
    """The most memory that a process has had resident, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
