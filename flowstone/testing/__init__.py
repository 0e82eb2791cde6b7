"""What people test their pipelines with: assertions over the store, a scripted sensor, fixtures, simulation."""

from flowstone.testing.assertions import assert_enqueued, assert_materialized, refute_enqueued
from flowstone.testing.contract import sensor_contract
from flowstone.testing.scripted import ScriptedSensor
from flowstone.testing.simulate import Faults, Feed, PushedFeed, simulate

__all__ = [
    "Faults",
    "Feed",
    "PushedFeed",
    "ScriptedSensor",
    "assert_enqueued",
    "assert_materialized",
    "refute_enqueued",
    "sensor_contract",
    "simulate",
]
