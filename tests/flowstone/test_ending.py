"""The rules of waiting for the end: signals and the tree's end wake, whatever comes first and whenever."""

import signal
import threading

import pytest

from flowstone.ending import Ending


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_waiting_and_its_handler_is_put_back(number):
    before = signal.getsignal(number)
    with Ending().heeded() as wait:
        signal.raise_signal(number)
        wait()
    assert signal.getsignal(number) == before


def test_news_from_before_the_waiting_are_not_lost():
    ending = Ending()
    ending.announce()
    with ending.heeded() as wait:
        wait()


def test_another_thread_ends_the_waiting():
    ending = Ending()
    with ending.heeded() as wait:
        thread = threading.Thread(target=ending.announce, name="announcer")
        thread.start()
        wait()
        thread.join()


def test_news_after_the_waiting_wake_nobody():
    ending = Ending()
    with ending.heeded():
        pass
    ending.announce()


def test_a_thread_that_may_not_handle_signals_waits_all_the_same():
    ending, ended = Ending(), threading.Event()

    def wait_elsewhere() -> None:
        with ending.heeded() as wait:
            ready.set()
            wait()
            ended.set()

    ready = threading.Event()
    thread = threading.Thread(target=wait_elsewhere, name="elsewhere")
    thread.start()
    assert ready.wait(5)
    ending.announce()
    assert ended.wait(5)
    thread.join()


def test_other_signals_that_the_program_handles_do_not_end_it():
    ending, seen = Ending(), []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    try:
        with ending.heeded() as wait:
            signal.raise_signal(signal.SIGUSR1)
            ending.announce()
            wait()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1]
