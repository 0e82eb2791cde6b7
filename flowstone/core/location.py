"""Where in the user's code a definition stands, for messages."""

import sys
from types import FrameType

__all__ = ["caller"]

_OURS = frozenset({"flowstone", "actors"})


def caller() -> str:
    """`file:line` of the innermost frame that is not of FlowStone or its actors; `unknown:0` when there is none.

    >>> caller().rpartition(":")[2].isdigit()
    True
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in _OURS:
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return "unknown:0"
