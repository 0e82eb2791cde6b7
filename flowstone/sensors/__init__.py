"""Sensors: they look at something outside, and ask for runs when something arrives."""

from flowstone.sensors.builtin.asset_updated import AssetUpdated
from flowstone.sensors.builtin.database import DatabaseChange
from flowstone.sensors.builtin.file_arrival import FileArrival
from flowstone.sensors.builtin.push import Push
from flowstone.sensors.builtin.s3 import S3FileArrival
from flowstone.sensors.builtin.webhook import Webhook
from flowstone.sensors.event import TriggerEvent
from flowstone.sensors.messages import Poll
from flowstone.sensors.sensor import Arrival, NoTrigger, PollError, Sensor, Trigger
from flowstone.sensors.signatures import GitHubSignature, StripeSignature, Token
from flowstone.sensors.spec import SensorSpec

__all__ = [
    "Arrival",
    "AssetUpdated",
    "DatabaseChange",
    "FileArrival",
    "GitHubSignature",
    "NoTrigger",
    "Poll",
    "PollError",
    "Push",
    "S3FileArrival",
    "Sensor",
    "SensorSpec",
    "StripeSignature",
    "Token",
    "Trigger",
    "TriggerEvent",
    "Webhook",
]
