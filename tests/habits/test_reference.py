"""Habits of the reference: it is what the docstrings say."""

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_reference_is_what_the_docstrings_say() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_reference.py"))["reference"]()
    page = (ROOT / "docs" / "reference.md").read_text("utf-8")
    assert page == made, "run: python docs/make_reference.py"
