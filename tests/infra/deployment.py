"""Turns infra/ and what `azd env set` says into the resources that a deployment would make, without Azure.

The checker reads Bicep's own descriptions of resource types. It is no part of the repository: it lies in `tools/bicep/`
of the folder that RANKLOOP_SHARED names, `../shared` where it is not set.
"""

import functools
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
TOOL = Path(os.environ.get("RANKLOOP_SHARED") or ROOT.parent / "shared").absolute() / "tools" / "bicep"
CHECKER = TOOL / "bicepcheck.py"
_AZD = ("AZURE_ENV_NAME", "AZURE_LOCATION", "AZURE_PRINCIPAL_ID", "AZURE_PRINCIPAL_TYPE")


class Resource(NamedTuple):
    """One resource: its type in lower case, its name, and all that it is made of."""

    type: str
    name: str
    body: dict[str, Any]

    @property
    def properties(self) -> dict[str, Any]:
        found = self.body["properties"]
        assert isinstance(found, dict)
        return found

    @property
    def last_name(self) -> str:
        """Its own part of its name."""
        return self.name.rsplit("/", 1)[-1]


class Deployment(NamedTuple):
    """What would be made, what the checker found, and what azd is told in the end."""

    resources: list[Resource]
    faults: list[tuple[str, str, str]]
    outputs: dict[str, Any]

    def of(self, kind: str) -> list[Resource]:
        """The resources of a type."""
        return [resource for resource in self.resources if resource.type == kind.lower()]

    def one(self, kind: str) -> Resource:
        """The only resource of a type."""
        (found,) = self.of(kind)
        return found

    @property
    def settings(self) -> dict[str, str]:
        """The app settings, by name; what is known only after the deployment stands in angle brackets."""
        return {name: str(value) for name, value in self.one("Microsoft.Web/sites/config").properties.items()}


@functools.cache
def _checker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bicepcheck", CHECKER)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def _deploy(infra: Path, told: tuple[tuple[str, str], ...]) -> Deployment:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RANKLOOP_", *_AZD))}
    with mock.patch.dict(os.environ, {**kept, **dict(told)}, clear=True):
        run = _checker().check(infra / "main.bicepparam", types=TOOL / "types" / "generated")
    resources = [Resource(body["type"].lower(), str(body["name"]), body) for body in run.resources]
    return Deployment(resources, run.found, run.outputs)


def deploy(told: Mapping[str, str], infra: Path = INFRA) -> Deployment:
    """What `azd provision` would deploy in an environment that holds `told`."""
    return _deploy(infra, tuple(sorted(told.items())))
