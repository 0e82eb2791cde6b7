"""Habits of the tracked files: small modules, short functions, nothing of the workshop left, everything packaged."""

import ast
import configparser
import re
from pathlib import Path, PurePath

WORKSHOP = re.compile(r"/work/|\b[Ii]ssues? +#?\d|\b[Pp]art [1-6]\b|shared/design|\bTODO\b|\bFIXME\b|\bXXX\b")
MOST_LINES = 400
LONGEST_FUNCTION = 60


def test_modules_are_small(source: Path) -> None:
    assert len(source.read_text("utf-8").splitlines()) <= MOST_LINES


def test_functions_are_short(source: Path) -> None:
    tree = ast.parse(source.read_text("utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {f.name: (f.end_lineno or 0) - f.lineno + 1 for f in functions}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FUNCTION} == {}


def test_nothing_of_the_workshop_is_left(product_files: list[Path]) -> None:
    this = Path(__file__)
    found = []
    for path in product_files:
        if path != this and path.suffix in {".py", ".md", ".cfg", ".ini", ".toml", ".sql", ".sh", ""}:
            for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
                if WORKSHOP.search(line):
                    found.append(f"{path.name}:{number}: {line.strip()}")
    assert found == []


def test_each_data_file_of_a_package_is_packaged(product_files: list[Path], root: Path) -> None:
    settings = configparser.RawConfigParser()
    settings.read(root / "setup.cfg", "utf-8")
    listed = settings["options.package_data"].items()
    packaged = {package: [pattern.strip() for pattern in patterns.split(",")] for package, patterns in listed}
    forgotten = []
    for path in product_files:
        inside = path.relative_to(root)
        if inside.parts[0] in {"actors", "flowstone"} and path.suffix != ".py":
            owners = [(".".join(inside.parts[:n]), PurePath(*inside.parts[n:])) for n in range(1, len(inside.parts))]
            if not any(rest.match(pattern) for package, rest in owners for pattern in packaged.get(package, ())):
                forgotten.append(str(inside))
    assert forgotten == []
