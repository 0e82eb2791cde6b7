"""Objects arrive in a bucket of S3; each becomes one run, for the day that its key names.

Run it: python examples/objects_in_a_bucket.py
It starts a server that speaks S3 (of the package moto, from the extra `test`); against the real one, leave out
`endpoint_url` and the keys: boto3's own configuration is the default.
"""

import logging
import tempfile

import boto3
from moto.server import ThreadedMotoServer

import flowstone as fs
from flowstone.sensors import S3FileArrival

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
place = {
    "endpoint_url": f"http://{host}:{port}",
    "region_name": "us-east-1",
    "aws_access_key_id": "example",
    "aws_secret_access_key": "example",
}
bucket = boto3.client("s3", **place)
bucket.create_bucket(Bucket="data")

lake = fs.Pipeline("lake")


@lake.asset(partitions=fs.Daily(start="2025-01-01"))
def events(context):
    """The events of one day, counted; `context.trigger` says which object arrived."""
    found = context.trigger.payload
    return len(bucket.get_object(Bucket=found["bucket"], Key=found["key"])["Body"].read().split())


arrivals = S3FileArrival(bucket="data", prefix="events/", suffix=".txt", **place)
lake.sensor("new_objects", arrivals, every="30s", target="events")

if __name__ == "__main__":
    scratch = tempfile.TemporaryDirectory(prefix="objects-")
    with scratch, fs.Runtime(lake, store=f"sqlite:///{scratch.name}/lake.db") as runtime:
        for day, body in {"2025-01-15": b"click click buy", "2025-01-16": b"click"}.items():
            bucket.put_object(Bucket="data", Key=f"events/{day}/part-0.txt", Body=body)
        print("new:", runtime.sensors.poll("new_objects").request_count)
        print("again:", runtime.sensors.poll("new_objects").request_count)
        runtime.drain()
        for day in ("2025-01-15", "2025-01-16"):
            print(day, runtime.get("events", partition=day))
    server.stop()
