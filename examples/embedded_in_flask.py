"""A Flask service that embeds the runtime: requests are answered while schedules fire and assets are made.

Run it: python examples/embedded_in_flask.py (needs flask). It serves on a free port, calls itself, and ends.
"""

import json
import logging
import threading
from urllib.request import Request, urlopen

from flask import Flask, jsonify
from werkzeug.serving import make_server

import flowstone as fs
from flowstone.sensors import Push

shop = fs.Pipeline("shop")


@shop.asset
def receipt(context):
    """Made for each order that is pushed."""
    return f"receipt of {context.partition}"


shop.sensor("orders", Push(message_id=lambda message: message["id"]), target="receipt", partition=lambda m: m["id"])
shop.schedule("receipts", every="1h", target="receipt")
runtime = fs.Runtime(shop, store="memory://")
app = Flask(__name__)


@app.post("/orders/<order>")
def take(order):
    """Take an order: answered when it is durable, made afterwards; the same order again is the same run."""
    evaluation = runtime.sensors.push("orders", {"id": order})
    return jsonify(run_ids=list(evaluation.run_ids)), 202


@app.get("/orders/<order>")
def look(order):
    """The receipt of an order."""
    try:
        return jsonify(receipt=runtime.get("receipt", partition=order))
    except fs.ValueNotFound:
        return jsonify(receipt=None), 404


@app.get("/health")
def health():
    """For the load balancer."""
    now = runtime.health()
    return jsonify(status=now.status), 200 if now.status == "ok" else 503


def call(url, method="GET"):
    """What the service answers."""
    with urlopen(Request(url, method=method), timeout=10) as answer:
        return answer.status, json.load(answer)


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, name="http").start()
    with runtime:
        here = f"http://127.0.0.1:{server.port}"
        print(call(f"{here}/health"))
        for _ in range(2):
            status, body = call(f"{here}/orders/order-17", "POST")
            print(status, len(body["run_ids"]), "run")
        runtime.drain(timeout=10)
        print(call(f"{here}/orders/order-17"))
        print(len(runtime.runs.list()), "run in all")
        server.shutdown()
