"""Options of supervisors and specifications of children: each rule has something that is refused."""

from __future__ import annotations

import pytest

from actors import Actor, ChildSpec, SpecError, Supervisor


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"strategy": "one_for_two"}, "strategy"),
        ({"max_restarts": -1}, "max_restarts"),
        ({"max_seconds": 0}, "max_seconds"),
        ({"auto_shutdown": "sometimes"}, "auto_shutdown"),
        ({"children": ["a"]}, "ChildSpec"),
        ({"children": [ChildSpec(Actor, restart="transient", significant=True)]}, "significant"),
    ],
)
def test_bad_options_are_refused_at_start(system, options, text):
    with pytest.raises(SpecError, match=text):
        system.start(Supervisor, **options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"restart": "always"}, "permanent, transient, temporary"),
        ({"shutdown": -1}, "shutdown"),
        ({"shutdown": "soon"}, "brutal_kill"),
        ({"id": ""}, "id"),
        ({"args": "abc"}, "args"),
        ({"kwargs": 3}, "kwargs"),
        ({"significant": True}, "significant"),
    ],
)
def test_bad_specifications_are_refused(options, text):
    with pytest.raises(SpecError, match=text):
        ChildSpec(Actor, **options)


def test_a_class_that_is_no_actor_is_refused(system):
    with pytest.raises(SpecError, match="dict"):
        system.start(dict)
    with pytest.raises(SpecError, match="dict"):
        system.start(Supervisor, children=[ChildSpec(dict)])
