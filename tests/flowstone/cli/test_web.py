"""`flowstone web`: a process that takes messages over HTTP until it is told to end."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

INBOX = """
import flowstone as fs
from flowstone.sensors import Push

shop = fs.Pipeline("shop")


@shop.asset
def order(context):
    return 1


shop.sensor("inbox", Push(auth=False), target="order")
"""

RUN = "from flowstone.cli import main; main()"


def test_messages_are_taken_until_sigterm(tmp_path: Path) -> None:
    (tmp_path / "inbox.py").write_text(INBOX)
    command = [sys.executable, "-c", RUN, "--app", "inbox:shop", "web", "--port", "0"]
    environment = {**os.environ, "FLOWSTONE_STORE": f"sqlite:///{tmp_path}/store.db"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = process.stderr.readline()
        assert told.startswith("serving http://127.0.0.1:"), told
        url = told.split()[1].replace("NAME", "inbox")
        headers = {"Content-Type": "application/json", "X-Message-Id": "1"}
        with urllib.request.urlopen(urllib.request.Request(url, b"{}", headers), timeout=20) as answer:
            assert json.loads(answer.read())["status"] == "triggered"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
