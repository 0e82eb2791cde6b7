"""An HTTP endpoint that is asked again and again: what it answers triggers."""

from flowstone.sensors.builtin.webhook.sensor import Webhook

__all__ = ["Webhook"]
