"""Connectors from JSON: one node or a list of them, camelCase there and snake_case here, all errors at once.

The shape is that of `connectors.schema.json`, which ships beside this module.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from flowstone.connectors.connector import Connector
from flowstone.connectors.tasks import checked
from flowstone.core.keywords import check_keywords
from flowstone.errors import ValidationError, shown

__all__ = ["Definition", "parse", "schema"]

_NODE = ("id", "type", "config")
_CONFIG = ("subtype", "scheduledTask")
_TASK = {
    "name": "name",
    "cronExpression": "cron_expression",
    "timezone": "timezone",
    "enabled": "enabled",
    "triggerEventType": "trigger_event_type",
    "signalEventType": "signal_event_type",
    "signalPayload": "signal_payload",
}
_NEEDED = ("name", "cronExpression", "signalEventType")


@dataclass(frozen=True, slots=True)
class Definition:
    """A connector and the scheduled task that triggers it, its options as `tasks.checked` gives them."""

    connector: Connector
    task: dict[str, Any]


def schema() -> dict[str, Any]:
    """The JSON Schema of what `parse` takes."""
    text = (resources.files("flowstone.connectors") / "connectors.schema.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def parse(given: object) -> tuple[Definition, ...]:
    """The connectors that a JSON text, or what was parsed from one, defines.

    Raises:
        ValidationError: with all that is wrong in its `.problems`.
    """
    nodes = _parsed(given)
    found: list[Definition] = []
    problems: list[ValidationError] = []
    for place, node in enumerate(nodes):
        where = f"node {place}" + (f" ({node['id']})" if isinstance(node, dict) and "id" in node else "")
        try:
            found.append(_definition(where, node))
        except ValidationError as error:
            problems += [ValidationError(f"{where}: {each}") for each in error.problems or (error,)]
    problems += _twice(found)
    if problems:
        raise _together(problems)
    return tuple(found)


def _parsed(given: object) -> list[Any]:
    if isinstance(given, (str, bytes)):
        try:
            given = json.loads(given)
        except ValueError as error:
            message = f"expected definitions of connectors as JSON, got: {shown(given)} ({error})"
            raise ValidationError(message) from error
    nodes = given if isinstance(given, list) else [given]
    if not nodes:
        raise ValidationError("expected definitions of connectors, got an empty list")
    return nodes


def _definition(where: str, node: object) -> Definition:
    problems: list[ValidationError] = []
    outer = _object(node, "a node", _NODE, ("id", "config"), problems)
    if outer.get("type", "connector") != "connector":
        problems.append(ValidationError(f"expected type to be 'connector', got: {shown(outer['type'])}"))
    config = _object(outer.get("config", {}), "config", _CONFIG, ("scheduledTask",), problems)
    if config.get("subtype", "scheduled") != "scheduled":
        problems.append(ValidationError(f"expected subtype to be 'scheduled', got: {shown(config['subtype'])}"))
    task = _object(config.get("scheduledTask", {}), "scheduledTask", _TASK, _NEEDED, problems)
    if problems:
        raise _together(problems)
    options = {_TASK[key]: value for key, value in task.items()}
    connector = Connector(
        outer["id"],
        trigger_event_type=options.get("trigger_event_type"),
        signal_event_type=options["signal_event_type"],
        signal_payload=options.get("signal_payload"),
    )
    return Definition(
        connector,
        checked(
            options["name"],
            {
                "cron_expression": options["cron_expression"],
                "event_type": connector.trigger_event_type,
                "payload": connector.trigger_payload,
                "timezone": options.get("timezone", "UTC"),
                "enabled": options.get("enabled", True),
            },
        ),
    )


def _object(
    given: object, what: str, known: Any, needed: tuple[str, ...], problems: list[ValidationError]
) -> Mapping[str, Any]:
    """The value, when it is an object; what is unknown or missing in it is added to the problems."""
    if not isinstance(given, dict):
        problems.append(ValidationError(f"expected {what} to be an object, got: {shown(given)}"))
        return {}
    try:
        check_keywords(what, given, known)
    except ValidationError as error:
        problems.append(error)
    problems += [ValidationError(f"expected {what} to have {key!r}") for key in needed if key not in given]
    return given


def _together(problems: list[ValidationError]) -> ValidationError:
    lines = "\n".join(f"  {problem}" for problem in problems)
    return ValidationError(f"{len(problems)} problems found:\n{lines}", problems=tuple(problems))


def _twice(found: list[Definition]) -> Iterator[ValidationError]:
    for what, values in (
        ("id", [each.connector.id for each in found]),
        ("scheduledTask name", [each.task["name"] for each in found]),
        ("triggerEventType", [each.connector.trigger_event_type for each in found]),
    ):
        for value in sorted({each for each in values if values.count(each) > 1}):
            yield ValidationError(f"expected each {what} once, got twice: {value!r}")
