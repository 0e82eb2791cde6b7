"""Both backends keep the contract of backends."""
from __future__ import annotations

import pytest

from actors.backends.greenlets import GreenletBackend
from actors.backends.threads import ThreadBackend
from actors.testing.contract import BackendContract


class TestGreenlets(BackendContract):
    def make_backend(self, work, name):
        return GreenletBackend(work, name)


class TestThreads(BackendContract):
    def make_backend(self, work, name):
        return ThreadBackend(work)


def test_a_contract_wants_to_know_its_backend():
    with pytest.raises(TypeError, match="make_backend"):
        BackendContract().system()
