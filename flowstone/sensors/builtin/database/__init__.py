"""A database that is asked again and again: a value that changes, or rows past a high-water mark."""

from flowstone.sensors.builtin.database.sensor import DatabaseChange

__all__ = ["DatabaseChange"]
