"""`flowstone run`: serves until SIGTERM, shuts down in order, and refuses what can't be served."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from flowstone.cli import main
from flowstone.errors import RuntimeStopped
from flowstone.runtime import Runtime


@pytest.fixture
def serving(directory, command, environment) -> Iterator[subprocess.Popen[str]]:
    """A process that serves the shop and has said so."""
    words = ["--app", "shop:shop", "--store", "sqlite:///shop.db", "run"]
    process = subprocess.Popen(
        [*command, *words], cwd=directory, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stderr is not None
        assert "serving" in process.stderr.readline()
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_code_0(serving, number):
    serving.send_signal(number)
    _, err = serving.communicate(timeout=30)
    assert (serving.returncode, err) == (0, "")


def test_a_second_service_on_the_same_store_is_refused_and_the_first_is_named(serving, flowstone):
    ran = flowstone("--app", "shop:shop", "--store", "sqlite:///shop.db", "run")
    assert ran.returncode == 1
    assert str(serving.pid) in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_store_that_cannot_be_written_is_one_clear_error(flowstone, directory):
    ran = flowstone("--app", "shop:shop", "--store", "sqlite:///missing/shop.db", "run")
    assert ran.returncode == 1
    assert "missing" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (directory / "missing").exists()


def test_a_broken_pipeline_does_not_start(flowstone, directory):
    ran = flowstone("--app", "shop:broken", "--store", "sqlite:///shop.db", "run")
    assert ran.returncode == 1
    assert "totl" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_root_that_gave_up_is_exit_code_70(directory, monkeypatch, capsys):
    class GivenUp(Runtime):
        def run_forever(self, *, ready=None):
            raise RuntimeStopped("the tree of actors gave up: 'crashes'")

    monkeypatch.setattr("flowstone.cli.run.Runtime", GivenUp)
    monkeypatch.chdir(directory)
    monkeypatch.syspath_prepend(directory)
    with pytest.raises(SystemExit) as ended:
        main(["--app", "shop:shop", "--store", "sqlite:///shop.db", "run"])
    assert ended.value.code == 70
    assert "gave up" in capsys.readouterr().err
    sys.modules.pop("shop")
