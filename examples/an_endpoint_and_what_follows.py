"""An HTTP endpoint says which day is ready; the day is fetched, and another pipeline follows each day that was made.

Run it: python examples/an_endpoint_and_what_follows.py
"""

import json
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import flowstone as fs
from flowstone.sensors import AssetUpdated, Webhook

ready = {"ready": False, "day": "2025-01-15"}


class Status(BaseHTTPRequestHandler):
    """The service that is asked."""

    def do_GET(self):
        body = json.dumps(ready).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Nothing."""


service = HTTPServer(("127.0.0.1", 0), Status)
threading.Thread(target=service.serve_forever, daemon=True).start()

feed, reports = fs.Pipeline("feed"), fs.Pipeline("reports")


@feed.asset(partitions=fs.Daily(start="2025-01-01"))
def day(context):
    """The data of a day."""
    return {"day": str(context.partition)}


@reports.asset(partitions=fs.Daily(start="2025-01-01"))
def report(context):
    """What follows each materialization of `day`."""
    return f"after {context.trigger.payload['asset']} of {context.partition}"


feed.sensor(
    "status",
    Webhook(
        url=f"http://127.0.0.1:{service.server_address[1]}/status",
        headers={"Accept": "application/json"},
        check=lambda body: body["ready"],
        partition=lambda body: body["day"],
    ),
    every="1m",
    target="day",
)
reports.sensor("new_days", AssetUpdated(day), every="30s", target="report")

if __name__ == "__main__":
    scratch = tempfile.TemporaryDirectory(prefix="endpoint-")
    with scratch, fs.Runtime(feed, reports, store=f"sqlite:///{scratch.name}/feed.db") as runtime:
        print("before:", runtime.sensors.poll("status").reason)
        ready["ready"] = True
        print("after:", runtime.sensors.poll("status").status)
        runtime.drain()
        print("new days:", runtime.sensors.poll("new_days").request_count)
        runtime.drain()
        print(runtime.get("report", partition="2025-01-15"))
    service.shutdown()
    service.server_close()
