"""What people test their pipelines with: assertions over the store, a scripted sensor, fixtures of pytest."""

from flowstone.testing.assertions import assert_enqueued, assert_materialized, refute_enqueued
from flowstone.testing.scripted import ScriptedSensor

__all__ = ["ScriptedSensor", "assert_enqueued", "assert_materialized", "refute_enqueued"]
