"""Objects that arrive in a bucket: by listing, or by the notifications that the bucket sends to a queue."""

from flowstone.sensors.builtin.s3.arrival import S3FileArrival

__all__ = ["S3FileArrival"]
