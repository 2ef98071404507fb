"""Turns a resource of a type that the checker has no description of into what is wrong with it."""

from typing import Any

_EACH = {
    "!severity": (0, 1, 2, 3, 4), "!scopes": [str], "!evaluationFrequency": ("PT5M", "PT15M"),
    "!windowSize": ("PT15M",), "description": str, "displayName": str, "enabled": bool, "autoMitigate": bool,
}  # fmt: skip
_OPERATORS = ("Equals", "GreaterThan", "GreaterThanOrEqual", "LessThan", "LessThanOrEqual")
_AGGREGATIONS = ("Average", "Count", "Maximum", "Minimum", "Total")
_WARNING = {
    "!enabled": bool, "!operator": ("EqualTo", "GreaterThan", "GreaterThanOrEqualTo"), "!threshold": int,
    "!contactEmails": [str], "contactGroups": [str], "contactRoles": [str], "thresholdType": ("Actual", "Forecasted"),
}  # fmt: skip
UNDESCRIBED: dict[str, dict[str, Any]] = {
    "microsoft.insights/diagnosticsettings": {
        "!workspaceId": str,
        "logs": [{"category": str, "categoryGroup": ("allLogs", "audit"), "!enabled": bool}],
        "metrics": [{"category": ("AllMetrics", "Transaction"), "!enabled": bool}],
    },
    "microsoft.insights/actiongroups": {
        "!groupShortName": str,
        "!enabled": bool,
        "emailReceivers": [{"!name": str, "!emailAddress": str, "useCommonAlertSchema": bool}],
        "armRoleReceivers": [{"!name": str, "!roleId": str, "useCommonAlertSchema": bool}],
    },
    "microsoft.insights/scheduledqueryrules": {
        **_EACH,
        "!criteria": {
            "!allOf": [
                {
                    "!query": str,
                    "!timeAggregation": _AGGREGATIONS,
                    "metricMeasureColumn": str,
                    "!operator": _OPERATORS,
                    "!threshold": int,
                    "failingPeriods": {"numberOfEvaluationPeriods": int, "minFailingPeriodsToAlert": int},
                }
            ]
        },
        "actions": {"actionGroups": [str], "customProperties": dict},
    },
    "microsoft.insights/metricalerts": {
        **_EACH,
        "!criteria": {
            "!odata.type": ("Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria",),
            "!allOf": [
                {
                    "!criterionType": ("StaticThresholdCriterion",),
                    "!name": str,
                    "metricNamespace": str,
                    "!metricName": str,
                    "!timeAggregation": _AGGREGATIONS,
                    "!operator": _OPERATORS,
                    "!threshold": int,
                }
            ],
        },
        "actions": [{"actionGroupId": str}],
    },
    "microsoft.insights/workbooks": {
        "!category": str, "!displayName": str, "!serializedData": str, "sourceId": str, "version": str,
    },
    "microsoft.consumption/budgets": {
        "!amount": int,
        "!category": ("Cost",),
        "!timeGrain": ("Monthly", "Quarterly", "Annually"),
        "!timePeriod": {"!startDate": str, "endDate": str},
        "notifications": {"actual": _WARNING, "forecast": _WARNING},
    },
}  # fmt: skip
"""What the checker has no description of: what may be in it, by Bicep's own; `!` must be; a tuple lists the values."""


def misfits(value: Any, shape: Any, where: str) -> list[str]:
    """Where a value is not what the shape says."""
    if str(value).startswith("<"):  # known only after the deployment
        return []
    if isinstance(shape, dict) and isinstance(value, dict):
        names = {name.removeprefix("!"): inner for name, inner in shape.items()}
        wrong = [f"{where}.{name[1:]} is missing" for name in shape if name[0] == "!" and name[1:] not in value]
        wrong += [f"{where}.{name} is unknown" for name in value if name not in names]
        return wrong + [
            each for name in value if name in names for each in misfits(value[name], names[name], f"{where}.{name}")
        ]
    if isinstance(shape, list) and isinstance(value, list):
        return [each for item in value for each in misfits(item, shape[0], f"{where}[]")]
    fits = value in shape if isinstance(shape, tuple) else isinstance(shape, type) and type(value) is shape
    return [] if fits else [f"{where} is {value!r}"]
