"""Turns requirements.txt, all that runs in Azure, into a bill of materials: CycloneDX 1.6, JSON, on standard output.

Licences are those that the installed packages name. The same lock gives the same bytes.
"""

import hashlib
import json
import re
import sys
import tomllib
import uuid
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_PIN = re.compile(r"([A-Za-z0-9._-]+)==([^\s;]+)(?:\s*;\s*(.+))?")


def components(lock: str) -> list[dict[str, Any]]:
    """The packages that a lock pins. `ValueError` for a line that pins none."""
    found = []
    for line in filter(None, map(str.strip, lock.splitlines())):
        pin = _PIN.fullmatch(line)
        if pin is None:
            raise ValueError(f"{line!r} pins no package")
        name, version, marker = pin.groups()
        reference = f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
        part: dict[str, Any] = {
            "type": "library",
            "bom-ref": reference,
            "name": name,
            "version": version,
            "purl": reference,
        }
        if licence := _licence(name, version):
            part["licenses"] = [{"license": {"name": licence}}]
        if marker:
            part["properties"] = [{"name": "rankloop:marker", "value": marker}]
        found.append(part)
    return found


def _licence(name: str, version: str) -> str | None:
    try:
        told = metadata(name)
    except PackageNotFoundError:
        return None
    if told["Version"] != version:
        return None
    spdx, classifiers, free = (told.get_all(name) or [] for name in ("License-Expression", "Classifier", "License"))
    named = [line.rsplit(" :: ", 1)[1] for line in classifiers if line.startswith("License ::")]
    return next(iter(spdx), None) or " AND ".join(named) or next(iter(free), "").partition("\n")[0] or None


def bill(lock: str, version: str) -> dict[str, Any]:
    """The whole document, for a lock and the product's version."""
    digest = hashlib.sha256(lock.encode()).hexdigest()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'rankloop/{version}/{digest}')}",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "bom-ref": "rankloop", "name": "rankloop", "version": version}
        },
        "components": components(lock),
    }


def main() -> None:
    """Print the bill of this very repository."""
    product = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    json.dump(bill((ROOT / "requirements.txt").read_text(), product["version"]), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
