"""Fail points: off unless they are named, then deadly at the pass that is named."""

import os
import signal
import subprocess
import sys

import pytest

from flowstone.errors import ConfigError
from flowstone.failpoints import VARIABLE, arm, failpoint

PASSES = """
from flowstone.failpoints import failpoint
for passed in range(3):
    failpoint("run.after_claim")
    print(passed, flush=True)
"""


def lived(text: str | None) -> tuple[int, str]:
    """The exit status of a process that passes a fail point three times, and what it said before its end."""
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    environment |= {} if text is None else {VARIABLE: text}
    done = subprocess.run([sys.executable, "-c", PASSES], env=environment, stdout=subprocess.PIPE, text=True)
    return done.returncode, "".join(done.stdout.split())


@pytest.mark.crash
@pytest.mark.parametrize(
    ("text", "said"), [("run.after_claim", ""), ("run.after_claim:1", ""), ("run.after_claim:3", "01")]
)
def test_the_process_dies_at_the_pass_that_is_named(text: str, said: str) -> None:
    assert lived(text) == (-signal.SIGKILL, said)


@pytest.mark.crash
@pytest.mark.parametrize("text", [None, "", "run.after_claim:4", "run.before_claim"])
def test_nothing_happens_at_other_passes_and_places(text: str | None) -> None:
    assert lived(text) == (0, "012")


@pytest.mark.parametrize("text", ["run.after_clain", "run.after_claim:0", "run.after_claim:-1", "run.after_claim:x"])
def test_what_names_no_pass_of_a_fail_point_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=VARIABLE):
        arm(text)


def test_a_misspelt_fail_point_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'run.after_claim'"):
        arm("run.after_clain")


def test_what_was_armed_can_be_disarmed() -> None:
    arm("run.after_claim")
    arm(None)
    failpoint("run.after_claim")
