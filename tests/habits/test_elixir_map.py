"""Habits of the map from the design notes: each of our names in it can be imported."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = re.compile(r"`((?:flowstone|actors|fs)\.[A-Za-z_][\w.]*)`")
IN_SQL = {"flowstone.scheduled_tasks", "flowstone.event_log", "flowstone.run_scheduled_task"}
PAGE = (ROOT / "docs" / "elixir-map.md").read_text("utf-8")
NAMES = sorted(set(OURS.findall(PAGE)) - IN_SQL)


@pytest.mark.parametrize("name", NAMES)
def test_each_name_of_ours_in_the_map_is_there(name: str) -> None:
    module, *rest = name.replace("fs.", "flowstone.", 1).split(".") if name.startswith("fs.") else name.split(".")
    found = importlib.import_module(module)
    for part in rest:
        path = f"{found.__name__}.{part}"
        found = getattr(found, part, None) or importlib.import_module(path)
    assert found is not None


@pytest.mark.parametrize(
    "name",
    [
        *("FlowStone.Pipeline", "FlowStone.DAG", "FlowStone.Context", "FlowStone.Materializer", "FlowStone.IO.Manager"),
        *("FlowStone.Schedule", "FlowStone.ScheduleStore", "FlowStone.Schedules.Scheduler", "FlowStone.Sensor"),
        *("FlowStone.Workers.ScheduledAsset", "FlowStone.Sensors.Worker", "FlowStone.Sensors.Supervisor"),
        *("FlowStone.Sensors.S3FileArrival", "FlowStone.Sensors.DatabaseChange", "FlowStone.Sensors.Webhook"),
        *("FlowStone.Error", "FlowStone.Resources", "FlowStone.Approvals", "FlowStone.LineagePersistence"),
        *("FlowStone.AuditLogContext", "FlowStone.RunConfig", "FlowStone.Repo", "FlowStone.materialize/2"),
        *("FlowStone.schedule/2", "FlowStone.backfill/2", "FlowStone.Partition", "createScheduledTask", "event_log"),
        *("run_scheduled_task", "scheduled_tasks", "consumeLoop", "onEvent", "handleTrigger", "pgmq"),
        *("SensorEvaluated", "RunRequested", "PeriodicConnectorNode"),
        *("Schedule.create/1", "update/2", "init/1 poll/1 cleanup/1", "on_trigger", "poll_interval", "start_link/1"),
        *("perform/1", "setup_isolated_genserver/1", "cast_and_sync", "materialize_all/2", "unschedule", "Executor"),
    ],
)
def test_each_name_of_the_design_notes_has_its_place(name: str) -> None:
    assert name in PAGE
