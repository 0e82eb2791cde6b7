"""Names of assets, schedules, sensors and pools: the alphabet that keeps keys from colliding."""

import re

from flowstone.errors import ValidationError, shown

__all__ = ["check_name", "is_name"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def is_name(text: str) -> bool:
    """Whether a text is a legal name.

    >>> is_name("daily_report"), is_name("+daily_report")
    (True, False)
    """
    return _NAME.fullmatch(text) is not None


def check_name(kind: str, name: object) -> str:
    """The name itself, when it is legal; `kind` is what it names, for the message.

    Raises:
        ValidationError: the name is no text, is empty, has over 128 characters or other ones than allowed.

    >>> check_name("asset", "daily_report")
    'daily_report'
    """
    if isinstance(name, str) and _NAME.fullmatch(name):
        return str(name)
    expected = "1 to 128 letters, digits, '_', '.' or '-', the first one a letter, digit or '_'"
    raise ValidationError(f"expected the {kind} name to be {expected}, got: {shown(name)}", name=name)
