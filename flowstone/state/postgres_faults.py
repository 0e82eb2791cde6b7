"""Which of PostgreSQL's errors are faults of the store, and whether to try again."""

from flowstone.errors import StoreUnavailable

__all__ = ["translated"]

_LOST = "the connection was lost"
_REASONS = {
    "08": _LOST,
    "25P02": "the transaction had failed",
    "25P03": "this process was stopped within a transaction",
    "40": "another transaction stood in its way",
    "53": "its server has no room left",
    "53100": "the disk is full",
    "53300": "its server takes no more connections",
    "55P03": "another process is writing to it",
    "57P": "its server is going down or starting",
    "58": "its server's disk gave an error",
}
_AGAIN = {"40001", "40P01"}
_LASTING = {
    "25006": "it can't be written",
    "28": "access was denied",
    "3D": "the database does not exist",
    "3F": "the schema does not exist",
    "42501": "access was denied",
    "XX001": "the data is damaged",
    "XX002": "an index is damaged",
}


def translated(error: Exception, place: str, *, lost: bool) -> StoreUnavailable | None:
    """The error for a fault of the store; None when the fault is the statement's. `lost`: so is the connection.

    `context["again"]` says that nothing is wrong: the transaction came in another's way, and has to be run again.
    """
    state = getattr(error, "sqlstate", None) or ("08" if lost else "")
    lasting = _reason(_LASTING, state)
    reason = lasting or _reason(_REASONS, state)
    if reason is None:
        return None
    message = f"store {place} is unavailable: {reason} ({_first_line(error)})"
    return StoreUnavailable(message, retryable=lasting is None, path=place, again=state in _AGAIN)


def _reason(reasons: dict[str, str], state: str) -> str | None:
    """The reason of the longest beginning of a state."""
    return next((reasons[state[:size]] for size in range(len(state), 1, -1) if state[:size] in reasons), None)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
