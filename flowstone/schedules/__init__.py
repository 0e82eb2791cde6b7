"""Schedules: instants that start runs, each of them accounted for exactly once."""
