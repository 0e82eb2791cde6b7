"""A service sends signed messages over HTTP; each is one run, however often it is sent.

Run it: python examples/messages_over_http.py
It needs the extra `web`.
"""

import hashlib
import hmac
import json
import tempfile
import urllib.request

import flowstone as fs
from flowstone.sensors import GitHubSignature, Push
from flowstone.web import Server, create_app

# In earnest it is "${GITHUB_SECRET}", which is read from the environment.
SECRET = "a secret that both sides know"

builds = fs.Pipeline("builds")


@builds.asset
def image(context):
    """What was built for a push."""
    return f"image of {context.trigger.payload['after']}"


builds.sensor("github", Push(auth=GitHubSignature(SECRET)), target="image")


def send(url, message, delivery):
    """What GitHub does."""
    body = json.dumps(message).encode()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature-256": "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest(),
    }
    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
        return json.loads(answer.read())


if __name__ == "__main__":
    scratch = tempfile.TemporaryDirectory(prefix="messages-")
    with scratch, fs.Runtime(builds, store=f"sqlite:///{scratch.name}/builds.db") as runtime:
        server = Server(create_app(runtime), port=0)
        server.start()
        first = send(f"{server.url}/sensors/github", {"after": "c0ffee"}, "guid-1")
        again = send(f"{server.url}/sensors/github", {"after": "c0ffee"}, "guid-1")
        print(first["status"], "and the same again:", first == again)
        runtime.drain()
        print(runtime.get("image"))
        server.close()
