"""What a deployment would make, over the choices that an operator has: complete, closed, and as the code expects it."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from shared import config
from shared.log import journal
from shared.storage.azure import CONTAINER
from shared.telemetry.instruments import COUNT, DISTRIBUTIONS, GAUGES, PREFIX
from shared.work import QUEUE
from tests.infra.deployment import CHECKER, INFRA, ROOT, Deployment, Resource, deploy
from tests.infra.undescribed import UNDESCRIBED, misfits

pytestmark = pytest.mark.skipif(
    not CHECKER.exists(), reason=f"INFRA IS NOT CHECKED: {CHECKER} is missing; RANKLOOP_SHARED names its folder"
)

TRIGGERS = sorted(ROOT.glob("*_fn"))
SOURCES = [path for folder in (ROOT / "shared", *TRIGGERS) for path in folder.rglob("*.py")]
READ = {name for path in SOURCES for name in re.findall(r"\bRANKLOOP_[A-Z_]+[A-Z]", path.read_text())}
SET_BY_INFRA = {"RANKLOOP_STORAGE", "RANKLOOP_KEY"}

EVERYTHING = {
    "AZURE_ENV_NAME": "prod-1",
    "AZURE_PRINCIPAL_ID": "person-1",
    "AZURE_PRINCIPAL_TYPE": "Group",
    "VNET_ENABLED": "true",
    "ALWAYS_READY": "2",
    "PURGE_PROTECTION": "true",
    "SIGN_MODELS": "true",
    "ALLOWED_ORIGINS": "https://a.example,https://b.example",
    "ALERT_EMAILS": "one@example.org,two@example.org",
    "BUDGET_AMOUNT": "50",
    "BUDGET_START": "2027-03-01",
    **{name: "1" for name in READ - SET_BY_INFRA},
}
CHOICES: list[dict[str, str]] = [
    {},
    {"AZURE_PRINCIPAL_ID": "person-1"},
    {"AZURE_PRINCIPAL_ID": "person-1", "PERSON_RIGHTS": "false", "SOFT_DELETE_DAYS": "0"},
    {"VNET_ENABLED": "true"},
    EVERYTHING,
]

FORBIDDEN_IN_SITE_CONFIG = {
    "alwaysOn", "appSettings", "ftpsState", "functionAppScaleLimit", "functionsRuntimeScaleMonitoringEnabled",
    "linuxFxVersion", "netFrameworkVersion", "preWarmedInstanceCount", "use32BitWorkerProcess", "windowsFxVersion",
}  # fmt: skip
"""What Flex Consumption refuses (ARM error 51021), or what another place has the say over."""
FORBIDDEN_SETTINGS = {
    "AzureWebJobsStorage", "AzureWebJobsDashboard", "ENABLE_ORYX_BUILD", "FUNCTIONS_EXTENSION_VERSION",
    "FUNCTIONS_WORKER_PROCESS_COUNT", "FUNCTIONS_WORKER_RUNTIME", "FUNCTIONS_WORKER_RUNTIME_VERSION",
    "SCM_DO_BUILD_DURING_DEPLOYMENT", "TZ", "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING", "WEBSITE_CONTENTSHARE",
    "WEBSITE_RUN_FROM_PACKAGE", "WEBSITE_TIME_ZONE", "WEBSITE_VNET_ROUTE_ALL", "XDT_MicrosoftApplicationInsights_Mode",
}  # fmt: skip
HOST_SETTINGS = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING", "APPLICATIONINSIGHTS_CONNECTION_STRING", "AZURE_CLIENT_ID",
    "AZURE_TOKEN_CREDENTIALS", "AzureWebJobsDisableHomepage", "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__clientId", "AzureWebJobsStorage__credential", "AzureWebJobsStorage__queueServiceUri",
    "AzureWebJobsStorage__tableServiceUri",
}  # fmt: skip
"""Read by the Functions host and the Azure SDKs, not by our code."""
NAMES = {
    "microsoft.resources/resourcegroups": r"[-\w.()]{0,89}[-\w()]",
    "microsoft.storage/storageaccounts": r"[a-z0-9]{3,24}",
    "microsoft.storage/storageaccounts/blobservices/containers": r"[a-z0-9](-?[a-z0-9]){2,62}",
    "microsoft.storage/storageaccounts/queueservices/queues": r"[a-z0-9](-?[a-z0-9]){2,62}",
    "microsoft.keyvault/vaults": r"[a-zA-Z](-?[a-zA-Z0-9]){2,23}",
    "microsoft.keyvault/vaults/secrets": r"[a-zA-Z0-9-]{1,127}",
    # The host's own id is made of the first 32 characters.
    "microsoft.web/sites": r"[a-zA-Z0-9](-?[a-zA-Z0-9]){1,31}",
    "microsoft.web/serverfarms": r"[-\w]{1,60}",
    "microsoft.managedidentity/userassignedidentities": r"[a-zA-Z0-9][-\w]{2,127}",
    "microsoft.operationalinsights/workspaces": r"[a-zA-Z0-9][-a-zA-Z0-9]{2,61}[a-zA-Z0-9]",
    "microsoft.insights/components": r"[^%&\\?/]{1,259}[^%&\\?/. ]",
    "microsoft.network/virtualnetworks": r"[a-zA-Z0-9][-\w.]{0,62}\w",
    "microsoft.network/privateendpoints": r"[a-zA-Z0-9][-\w.]{0,62}\w",
    "microsoft.consumption/budgets": r"[-\w]{1,63}",
}
OWNER, QUEUES, TABLES = (
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
)
BLOB_READER, TABLE_READER = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1", "76199698-9eea-4c19-bc75-cec21354c6b6"
SECRETS_USER, SECRETS_OFFICER = "4633458b-17de-408a-b874-0445c86b69e6", "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"
OWNER_OF_ALL = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
METRICS = "3913510d-42f4-4e42-8a64-420c390055eb"


def says(told: dict[str, str]) -> str:
    return "everything" if told is EVERYTHING else ",".join(f"{k}={v}" for k, v in told.items()) or "defaults"


@pytest.fixture(params=CHOICES, ids=says)
def told(request: pytest.FixtureRequest) -> dict[str, str]:
    found: dict[str, str] = request.param
    return found


@pytest.fixture
def made(told: dict[str, str]) -> Deployment:
    return deploy(told)


def undescribed(fault: tuple[str, str, str]) -> bool:
    kind = re.fullmatch(r"\w+: no resource type ([\w./]+)@[\w-]+", fault[2])
    return kind is not None and kind[1].lower() in UNDESCRIBED


def test_there_is_no_fault_in_it(made: Deployment) -> None:
    assert [fault for fault in made.faults if not undescribed(fault)] == []


def test_what_the_checker_cannot_describe_holds_what_it_may(made: Deployment) -> None:
    described = [each for each in made.resources if each.type in UNDESCRIBED]

    assert len(described) > 8
    assert [wrong for each in described for wrong in misfits(each.properties, UNDESCRIBED[each.type], each.type)] == []
    assert misfits({"a": 1, "c": 2}, {"!a": (2,), "!b": str}, "x") == ["x.b is missing", "x.c is unknown", "x.a is 1"]


@pytest.mark.parametrize(
    ("file", "right", "wrong", "fault"),
    [
        ("app.bicep", "httpsOnly: true", "httpOnly: true", "no property 'httpOnly'"),
        ("storage.bicep", "minimumTlsVersion: 'TLS1_2'", "minimumTlsVersion: 'TLS1.2'", "none of the known values"),
        ("main.bicep", "storage.outputs.id", "storage.outputs.ident", "no output 'ident'"),
        ("vault.bicep", "= vault.id", "= newKey", "holds a secret"),
    ],
)
def test_a_fault_would_be_found(tmp_path: Path, file: str, right: str, wrong: str, fault: str) -> None:
    copy = shutil.copytree(INFRA, tmp_path / "infra")
    text = (copy / file).read_text()
    assert text.count(right) == 1
    (copy / file).write_text(text.replace(right, wrong))

    assert [why for _, _, why in deploy({}, copy).faults if fault in why]


def test_no_file_is_left_over() -> None:
    named = {
        name
        for path in INFRA.glob("*.bicep*")
        for name in re.findall(r"'(?:\./)?([\w-]+\.(?:bicep|json))'", path.read_text())
    }

    assert {path.name for path in INFRA.iterdir()} == named | {"main.bicepparam", "signing-key.sh", "take-keys.sh"}


def test_the_storage_account_takes_no_key_and_shows_nothing(made: Deployment, told: dict[str, str]) -> None:
    account = made.one("Microsoft.Storage/storageAccounts").properties
    private = told.get("VNET_ENABLED") == "true"

    assert (account["allowSharedKeyAccess"], account["allowBlobPublicAccess"]) == (False, False)
    assert (account["minimumTlsVersion"], account["supportsHttpsTrafficOnly"]) == ("TLS1_2", True)
    assert account["allowCrossTenantReplication"] is False
    assert account["publicNetworkAccess"] == ("Disabled" if private else "Enabled")
    assert account["networkAcls"]["defaultAction"] == ("Deny" if private else "Allow")
    containers = made.of("Microsoft.Storage/storageAccounts/blobServices/containers")
    assert {each.last_name for each in containers} == {CONTAINER, "app-package"}
    assert {each.properties["publicAccess"] for each in containers} == {"None"}
    assert [each.last_name for each in made.of("Microsoft.Storage/storageAccounts/queueServices/queues")] == [QUEUE]


def test_deleted_blobs_are_kept_for_as_long_as_was_said(made: Deployment, told: dict[str, str]) -> None:
    blobs = made.one("Microsoft.Storage/storageAccounts/blobServices").properties
    expected: dict[str, Any] = {"enabled": True, "days": 7}
    if told.get("SOFT_DELETE_DAYS") == "0":
        expected = {"enabled": False}

    assert blobs["deleteRetentionPolicy"] == blobs["containerDeleteRetentionPolicy"] == expected


def test_the_vault_goes_by_roles_and_keeps_the_key_that_is_there(made: Deployment, told: dict[str, str]) -> None:
    vault = made.one("Microsoft.KeyVault/vaults").properties
    private = told.get("VNET_ENABLED") == "true"

    assert (vault["enableRbacAuthorization"], vault["enableSoftDelete"]) == (True, True)
    assert vault["enablePurgeProtection"] is (True if told is EVERYTHING else None)  # Azure refuses false
    assert vault["publicNetworkAccess"] == ("Disabled" if private else "Enabled")
    assert made.one("Microsoft.KeyVault/vaults/secrets").last_name == "deployment-key"
    # Not within the vault: Bicep 0.39 leaves out there what Azure needs to know the decorator.
    decorated = {
        (path.name, *found)
        for path in INFRA.glob("*.bicep")
        for found in re.findall(r"^(.*)@onlyIfNotExists\(\)\s+resource (\w+)", path.read_text(), re.MULTILINE)
    }
    assert decorated == {("vault.bicep", "", "deploymentKey")}


def test_the_app_is_what_flex_takes(made: Deployment, told: dict[str, str]) -> None:
    site, plan = made.one("Microsoft.Web/sites"), made.one("Microsoft.Web/serverfarms")
    functions = site.properties["functionAppConfig"]

    assert (plan.body["sku"], plan.properties) == ({"name": "FC1", "tier": "FlexConsumption"}, {"reserved": True})
    assert site.body["kind"] == "functionapp,linux"
    assert site.properties["serverFarmId"] == plan.body["id"]
    assert site.properties["httpsOnly"] is True
    assert not FORBIDDEN_IN_SITE_CONFIG & set(site.properties["siteConfig"])
    assert functions["runtime"] == {"name": "python", "version": "3.13"}
    scale = functions["scaleAndConcurrency"]
    assert scale["triggers"]["http"]["perInstanceConcurrency"] == 16  # of a Python app Azure makes it 1
    assert scale["alwaysReady"] == ([{"name": "http", "instanceCount": 2}] if told is EVERYTHING else [])
    assert (scale["instanceMemoryMB"], scale["maximumInstanceCount"]) == (2048, 40)
    policies = made.of("Microsoft.Web/sites/basicPublishingCredentialsPolicies")
    assert {each.last_name: each.properties for each in policies} == {"ftp": {"allow": False}, "scm": {"allow": False}}


def test_the_app_has_its_package_and_its_secrets_by_its_identity(made: Deployment) -> None:
    site = made.one("Microsoft.Web/sites")
    package = site.properties["functionAppConfig"]["deployment"]["storage"]
    identities = site.body["identity"]["userAssignedIdentities"]

    assert site.body["identity"]["type"] == "UserAssigned"
    assert len(identities) == 1
    (identity,) = identities
    assert made.one("Microsoft.ManagedIdentity/userAssignedIdentities").body["id"] == identity
    assert package["authentication"] == {
        "type": "UserAssignedIdentity",
        "userAssignedIdentityResourceId": identity,
    }
    assert package["value"].endswith("app-package")
    assert site.properties["keyVaultReferenceIdentity"] == identity


def test_no_page_may_call_unless_it_was_said(made: Deployment, told: dict[str, str]) -> None:
    allowed = ["https://a.example", "https://b.example"] if told is EVERYTHING else []

    assert made.one("Microsoft.Web/sites").properties["siteConfig"]["cors"] == {"allowedOrigins": allowed}


def grants(made: Deployment) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """What each principal may do: pairs of a role and the type of what it holds on."""
    found: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for grant in made.of("Microsoft.Authorization/roleAssignments"):
        given = grant.properties
        scope = grant.body["scope"].rsplit("/providers/", 1)[1].rsplit("/", 1)[0].lower()
        role = given["roleDefinitionId"].rsplit("/", 1)[1]
        found.setdefault((str(given["principalId"]), given["principalType"]), set()).add((role, scope))
    return found


def test_everybody_may_do_what_they_must_and_no_more(made: Deployment, told: dict[str, str]) -> None:
    storage, vault = "microsoft.storage/storageaccounts", "microsoft.keyvault/vaults"
    expected = {
        ("<identity.properties.principalId>", "ServicePrincipal"): {
            (OWNER, storage),
            (QUEUES, storage),
            (TABLES, storage),
            (SECRETS_USER, vault),
            (METRICS, "microsoft.insights/components"),
        }
    }
    if "AZURE_PRINCIPAL_ID" in told and told.get("PERSON_RIGHTS") != "false":
        expected["person-1", told.get("AZURE_PRINCIPAL_TYPE", "User")] = {
            (BLOB_READER, storage),
            (TABLE_READER, storage),
            (SECRETS_OFFICER, vault),
        }

    assert grants(made) == expected
    assignments = made.of("Microsoft.Authorization/roleAssignments")
    assert len({each.name for each in assignments}) == len(assignments)


def test_every_setting_that_the_code_reads_can_be_set_and_no_other() -> None:
    assert {name for name in deploy(EVERYTHING).settings if name.startswith("RANKLOOP_")} == READ
    assert {name for name in deploy({}).settings if name.startswith("RANKLOOP_")} == SET_BY_INFRA
    every = {name for path in SOURCES for name in re.findall(r"%([A-Z][A-Z_]+)%", path.read_text())}
    assert every
    assert every <= set(deploy(EVERYTHING).settings)


def test_telemetry_can_be_led_elsewhere_thinned_and_switched_off() -> None:
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://x", "OTEL_TRACES_SAMPLER_ARG": "0.5", "OTEL_SDK_DISABLED": "true"}

    assert {name: value for name, value in deploy(told).settings.items() if name.startswith("OTEL_")} == told
    assert not [name for name in deploy({}).settings if name.startswith("OTEL_")]
    code = "\n".join(path.read_text() for path in SOURCES)
    for name in told:
        assert name in code


def test_other_settings_are_set_as_they_are_and_take_the_place_of_none() -> None:
    extra = {"OTEL_SERVICE_NAME": "x", "RankloopWork__clientId": "y", "RANKLOOP_KEY": "mine", "RANKLOOP_SHARDS": "9"}
    made = deploy({"EXTRA_SETTINGS": json.dumps(extra), "RANKLOOP_SHARDS": "3"})

    assert not [fault for fault in made.faults if not undescribed(fault)]
    plain = deploy({"RANKLOOP_SHARDS": "3"}).settings
    assert made.settings == {**plain, "OTEL_SERVICE_NAME": "x", "RankloopWork__clientId": "y"}
    assert [fault for fault in deploy({"EXTRA_SETTINGS": '{"A": 1}'}).faults if not undescribed(fault)]


def test_the_settings_are_those_that_flex_takes(made: Deployment) -> None:
    ours = {name for name in made.settings if name.startswith("RANKLOOP_")}

    assert not FORBIDDEN_SETTINGS & set(made.settings)
    assert set(made.settings) == ours | HOST_SETTINGS
    raw = made.one("Microsoft.Web/sites/config").properties.values()
    assert not [value for value in raw if isinstance(value, bool | int | dict | list)]  # Azure takes strings alone


def test_the_app_reads_what_the_deployment_sets(made: Deployment) -> None:
    # As the platform hands them over: addresses are known by then, and references have become secrets.
    told = {name: re.sub(r"<[^>]+>", "https://account.example/", value) for name, value in made.settings.items()}
    handed = {name: "secret" if value.startswith("@Microsoft.KeyVault(") else value for name, value in told.items()}
    # EVERYTHING sets each to "1", which these cannot be.
    usable = {name: value for name, value in handed.items() if (name, value) != ("RANKLOOP_MAX_BODY_BYTES", "1")}

    found = config.read(usable)

    assert found.key == "secret"
    assert config.work_connection({**usable, "RANKLOOP_WORK_CONNECTION": ""}) == "AzureWebJobsStorage"


def test_secrets_are_in_the_vault_alone(made: Deployment, told: dict[str, str]) -> None:
    keys = {name: made.settings[name] for name in ("RANKLOOP_KEY", "RANKLOOP_SIGNING_KEY") if name in made.settings}

    assert set(keys) == {"RANKLOOP_KEY", *(["RANKLOOP_SIGNING_KEY"] if told is EVERYTHING else [])}
    for name, secret in (("RANKLOOP_KEY", "deployment-key"), ("RANKLOOP_SIGNING_KEY", "signing-key")):
        if name in keys:
            assert re.fullmatch(
                rf"@Microsoft\.KeyVault\(SecretUri=<vault\.properties\.vaultUri>secrets/{secret}\)", keys[name]
            )
    # What newGuid() gives in the checker.
    holders = [each.type for each in made.resources if "newguid" in json.dumps(each.body, default=str)]
    assert holders == ["microsoft.keyvault/vaults/secrets"]
    assert "newguid" not in json.dumps(made.outputs, default=str)
    assert made.settings["AzureWebJobsStorage__credential"] == "managedidentity"
    assert "AccountKey" not in json.dumps(made.settings, default=str)


def test_telemetry_is_taken_from_known_senders_alone(made: Deployment) -> None:
    assert made.one("Microsoft.Insights/components").properties["DisableLocalAuth"] is True
    sender = made.settings["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"]
    assert sender == "ClientId=<identity.properties.clientId>;Authorization=AAD"


def test_vault_storage_and_app_report_to_the_workspace(made: Deployment) -> None:
    scopes = [
        each.body["scope"].rsplit("/providers/", 1)[1] for each in made.of("Microsoft.Insights/diagnosticSettings")
    ]
    workspace = made.one("Microsoft.OperationalInsights/workspaces").body["id"]

    assert {re.sub(r"/[^/]+", "", scope.split("/", 1)[0]) for scope in scopes} == {
        "Microsoft.KeyVault", "Microsoft.Storage", "Microsoft.Web",
    }  # fmt: skip
    for each in made.of("Microsoft.Insights/diagnosticSettings"):
        assert each.properties["workspaceId"] == workspace


def test_the_network_closes_the_data_in(made: Deployment, told: dict[str, str]) -> None:
    endpoints = made.of("Microsoft.Network/privateEndpoints")
    site = made.one("Microsoft.Web/sites").properties
    if told.get("VNET_ENABLED") != "true":
        assert not [each for each in made.resources if each.type.startswith("microsoft.network/")]
        assert site["virtualNetworkSubnetId"] is None
        return

    served = {each.properties["privateLinkServiceConnections"][0]["name"] for each in endpoints}
    assert served == {"blob", "queue", "table", "vault"}
    zones = {each.name for each in made.of("Microsoft.Network/privateDnsZones")}
    assert zones == {
        *(f"privatelink.{service}.core.windows.net" for service in ("blob", "queue", "table")),
        "privatelink.vaultcore.azure.net",
    }
    assert len(made.of("Microsoft.Network/privateDnsZones/virtualNetworkLinks")) == len(zones)
    assert len(made.of("Microsoft.Network/privateEndpoints/privateDnsZoneGroups")) == len(zones)
    subnets = {
        each["name"]: each["properties"] for each in made.one("Microsoft.Network/virtualNetworks").properties["subnets"]
    }
    assert set(subnets) == {"app", "endpoints"}
    assert subnets["app"]["delegations"][0]["properties"]["serviceName"] == "Microsoft.App/environments"
    assert site["virtualNetworkSubnetId"].endswith("/subnets/app")


def test_names_are_what_azure_takes(made: Deployment) -> None:
    checked = [each for each in made.resources if each.type in NAMES]

    assert {each.type for each in checked} >= {"microsoft.web/sites", "microsoft.keyvault/vaults"}
    for each in checked:
        assert re.fullmatch(NAMES[each.type], each.last_name), each.name


def test_environments_stand_side_by_side() -> None:
    one, two = (deploy({"AZURE_ENV_NAME": name, "VNET_ENABLED": "true"}) for name in ("test", "prod"))
    globally = ("microsoft.storage/storageaccounts", "microsoft.keyvault/vaults", "microsoft.web/sites")

    assert not {each.body["id"] for each in one.resources} & {each.body["id"] for each in two.resources}
    for kind in globally:
        assert one.one(kind).name != two.one(kind).name


def test_azd_finds_what_it_deploys(made: Deployment, told: dict[str, str]) -> None:
    written = (ROOT / "azure.yaml").read_text()
    (service,) = re.findall(r"^services:\n  (\w+):$", written, re.MULTILINE)
    tagged = [each for each in made.resources if "azd-service-name" in each.body.get("tags", {})]

    assert [(each.type, each.body["tags"]["azd-service-name"]) for each in tagged] == [("microsoft.web/sites", service)]
    assert "host: function" in written
    for each in made.resources:
        if "location" in each.body:
            assert each.body["tags"]["azd-env-name"] == told.get("AZURE_ENV_NAME", "dev"), each.type
    assert {"AZURE_LOCATION", "AZURE_RESOURCE_GROUP", "SERVICE_API_NAME", "SERVICE_API_ENDPOINT"} <= set(made.outputs)


def test_git_never_takes_what_azd_writes_down() -> None:
    asked = subprocess.run(["git", "check-ignore", "-q", ".azure/prod/.env"], cwd=ROOT, check=False)

    assert asked.returncode == 0


def queries(made: Deployment) -> list[str]:
    rules = made.of("Microsoft.Insights/scheduledQueryRules")
    alerts = [rule.properties["criteria"]["allOf"][0]["query"] for rule in rules]
    book = json.loads(made.one("Microsoft.Insights/workbooks").properties["serializedData"])
    shown = [item["content"]["query"] for item in book["items"] if item["type"] == 3]
    assert len(alerts) == 6
    assert len(shown) == 9
    return alerts + shown


def test_alerts_and_workbook_ask_for_what_the_app_says(made: Deployment) -> None:
    code = "\n".join(path.read_text() for path in SOURCES)
    named: set[str] = set()
    counted: set[str] = set()
    for query in queries(made):
        for names in re.findall(r"\bname (?:!?in \(([^)]*)\)|[!=]= ('[\w.]+'))", query):
            named |= set(re.findall(r"'([\w.]+)'", "".join(names)))
        counted |= {name for name in re.findall(r"'([a-z_]+\.[a-z_]+)'", query) if not name.startswith(PREFIX)}

    metrics = {name for name in named if name.startswith(PREFIX)}
    assert named - metrics == {"join_timer", "train_timer", "work", "journal.lost"}
    for name in ("join_timer", "train_timer", "work"):
        assert f'@bp.function_name("{name}")' in code
    assert {name.removeprefix(PREFIX) for name in metrics} == {COUNT, *DISTRIBUTIONS, *GAUGES} - {
        "calls.under_way",
        "task.duration",
    }
    assert counted == {"journal.lost", "model.refused", "train.held", "storage.failed"}
    for name in counted - {"storage.failed"}:
        assert f'counters.add("{name}"' in code, name
    assert 'count("storage.failed")' in code
    assert "'.failed'" in "".join(queries(made))
    assert 'counters.add(f"{what}.failed")' in code


def test_without_metrics_only_rules_that_need_none_are_on() -> None:
    def on(told: dict[str, str]) -> set[str]:
        rules = deploy(told).of("Microsoft.Insights/scheduledQueryRules")
        return {rule.name.partition("-")[2] for rule in rules if rule.properties["enabled"]}

    every = on({})
    assert every == on({"OTEL_SDK_DISABLED": "false"}) >= {"failing", "join-lags", "model-is-late", "events-lost"}
    assert on({"OTEL_SDK_DISABLED": "True"}) == {"failing"}


def test_failing_is_told_of_where_there_are_few_calls(made: Deployment) -> None:
    (rule,) = (rule for rule in made.of("Microsoft.Insights/scheduledQueryRules") if rule.name.endswith("-failing"))
    query = rule.properties["criteria"]["allOf"][0]["query"]
    (condition,) = re.findall(r"iff\((.+?), 100\.0 \* failed / calls, 0\.0\)", query)

    def measured(calls: int, failed: int) -> bool:
        return bool(eval(condition, {"calls": calls, "failed": failed}))

    # Three calls a minute in a window of fifteen.
    assert measured(45, 45)
    assert measured(5, 5)
    assert measured(50, 3)
    assert not measured(49, 4)


def test_the_buffer_is_told_of_before_it_is_full(made: Deployment) -> None:
    (rule,) = (rule for rule in made.of("Microsoft.Insights/scheduledQueryRules") if rule.name.endswith("buffer-fills"))

    assert rule.properties["criteria"]["allOf"][0]["threshold"] == journal.MAX_BYTES / 2


def test_alerts_reach_whom_was_named(made: Deployment, told: dict[str, str]) -> None:
    groups = made.of("Microsoft.Insights/actionGroups")
    rules: list[Resource] = made.of("Microsoft.Insights/scheduledQueryRules")
    expected = [group.body["id"] for group in groups]

    if told is not EVERYTHING:
        assert not groups
    else:
        receivers = [each["emailAddress"] for each in groups[0].properties["emailReceivers"]]
        assert receivers == told["ALERT_EMAILS"].split(",")
    for rule in rules:
        assert rule.properties["actions"]["actionGroups"] == expected
    (metric,) = made.of("Microsoft.Insights/metricAlerts")
    assert [each["actionGroupId"] for each in metric.properties["actions"]] == expected


def test_a_budget_is_made_where_there_is_one(made: Deployment, told: dict[str, str]) -> None:
    budgets = [each.properties for each in made.of("Microsoft.Consumption/budgets")]

    assert [each["amount"] for each in budgets] == ([50] if told is EVERYTHING else [])
    assert [each["timePeriod"]["startDate"] for each in budgets] == (["2027-03-01"] if told is EVERYTHING else [])


def test_a_budget_tells_somebody_by_an_address_or_a_group() -> None:
    unnamed = deploy({"BUDGET_AMOUNT": "50", "BUDGET_START": "2027-03-01"})
    group = unnamed.one("Microsoft.Insights/actionGroups")

    assert not [fault for fault in unnamed.faults if not undescribed(fault)]
    assert group.properties["armRoleReceivers"][0]["roleId"] == OWNER_OF_ALL
    assert misfits(group.properties, UNDESCRIBED[group.type], "group") == []
    told = [(each["contactEmails"], each["contactGroups"]) for each in _warnings(unnamed)]
    assert told == [([], [group.body["id"]])] * 2
    emails = EVERYTHING["ALERT_EMAILS"].split(",")
    assert [(each["contactEmails"], each["contactGroups"]) for each in _warnings(deploy(EVERYTHING))] == [
        (emails, [])
    ] * 2


def _warnings(made: Deployment) -> list[dict[str, Any]]:
    return list(made.one("Microsoft.Consumption/budgets").properties["notifications"].values())


def test_a_budget_without_its_first_month_is_refused_before_anything_is_made() -> None:
    (fault,) = [fault for fault in deploy({"BUDGET_AMOUNT": "50"}).faults if not undescribed(fault)]

    assert "budget.startDate" in fault[2]
    assert "minLength 10" in fault[2]
