"""What infra/ and its documentation say of an operator's choices, as far as it can be read without the checker."""

import re

from tests.infra.deployment import INFRA, ROOT

DEPLOY = (ROOT / "docs/deploy.md").read_text()
PARAMETERS = (INFRA / "main.bicepparam").read_text()
ASKED = set(re.findall(r"readEnvironmentVariable\('(\w+)'", PARAMETERS))
SOURCES = [path for folder in (ROOT / "shared", *ROOT.glob("*_fn")) for path in folder.rglob("*.py")]
READ = {name for path in SOURCES for name in re.findall(r"\bRANKLOOP_[A-Z_]+[A-Z]", path.read_text())}
# Storage and both keys follow from what else is deployed.
DERIVED = {"RANKLOOP_STORAGE", "RANKLOOP_KEY", "RANKLOOP_SIGNING_KEY"}


def section(title: str) -> str:
    return DEPLOY.split(f"\n## {title}\n")[1].split("\n## ")[0]


def first_cells(title: str) -> set[str]:
    """The code spans in the first column of a section's table."""
    return {
        name
        for cell in re.findall(r"^\|([^|]*)\|", section(title), re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", cell)
    }


def test_every_setting_of_the_code_can_be_chosen_and_no_other() -> None:
    typed = set(re.findall(r"^  (RANKLOOP_\w+): string$", (INFRA / "types.bicep").read_text(), re.MULTILINE))

    assert typed == READ - DERIVED
    assert {name for name in ASKED if name.startswith("RANKLOOP_")} == typed
    app = (INFRA / "app.bicep").read_text()
    assert set(re.findall(r"\b(RANKLOOP_\w+):", app)) == DERIVED


def test_every_choice_is_documented_and_no_other() -> None:
    azd = {"AZURE_ENV_NAME", "AZURE_LOCATION", "AZURE_PRINCIPAL_ID"}  # azd sets these itself

    assert first_cells("Choices") == {name for name in ASKED if not name.startswith("RANKLOOP_")} - azd


def test_every_setting_of_opentelemetry_has_a_way_in() -> None:
    """What the code reads, and what is documented: by a name of its own, or among the extra ones."""
    told = [path.read_text() for path in (*SOURCES, ROOT / "docs/operations.md")]
    names = {name for text in told for name in re.findall(r"\bOTEL_[A-Z_]+[A-Z]\b", text)}
    (row,) = re.findall(r"^\| `EXTRA_SETTINGS` \|(.*)$", section("Choices"), re.MULTILINE)

    assert "OTEL_METRIC_EXPORT_INTERVAL" in names
    assert names == {name for name in ASKED if name.startswith("OTEL_")} | set(re.findall(r"`(OTEL_\w+)`", row))


def test_defaults_are_those_that_are_documented() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \|.*\| `?([\w.]+?)`?(?:: [^|]*)? \|$", section("Choices"), re.MULTILINE))
    given = dict(re.findall(r"readEnvironmentVariable\('(\w+)', '([^']*)'\)", PARAMETERS))

    assert len(told) > 10
    assert {name: "" if default == "none" else default for name, default in told.items()} == {
        name: given[name] for name in told
    }


def test_every_alert_is_documented_and_no_other() -> None:
    alerts = (INFRA / "alerts.bicep").read_text()
    rules = set(re.findall(r"^    name: '([a-z-]+)'$", alerts, re.MULTILINE))
    metrics = set(re.findall(r"^  name: '\$\{name\}-([a-z-]+)'$", alerts, re.MULTILINE))

    assert len(rules) == 6
    assert first_cells("Alerts") == rules | metrics


def test_azd_is_as_new_as_it_must_be() -> None:
    (asked,) = re.findall(r"azd: '>= ([\d.]+)'", (ROOT / "azure.yaml").read_text())

    assert f"azd {asked} or newer" in DEPLOY
    assert tuple(map(int, asked.split("."))) >= (1, 23, 8)  # the first with a Bicep above 0.39, see ADR 0034
