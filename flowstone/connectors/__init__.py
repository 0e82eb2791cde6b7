"""Schedules that the database keeps, events that it queues, and the router that hands each to its one handler."""
