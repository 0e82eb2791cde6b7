"""Simulation: the whole runtime on virtual time, in one deterministic order, with faults by seed."""

from flowstone.testing.simulate.faults import Faults
from flowstone.testing.simulate.feeds import Feed, PushedFeed
from flowstone.testing.simulate.graphs import graph
from flowstone.testing.simulate.result import Result
from flowstone.testing.simulate.simulation import simulate
from flowstone.testing.simulate.violations import Violation

__all__ = ["Faults", "Feed", "PushedFeed", "Result", "Violation", "graph", "simulate"]
