"""No file, function or list of parameters grows beyond what a reader takes in."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_LINES, MOST_LINES_OF_A_FUNCTION, MOST_PARAMETERS = 450, 60, 8
PROGRAMS = ("array_function", "column_kernel")
"""Decorators of functions whose parameters are the words of a program, or the columns and options of a kernel."""
EXCEPTIONS = {
    "run_bench": "the options of a command",
    "holt_winters": "the options of a public function, given by name",
    "squares": "a benchmark of a body with twenty columns",
    **dict.fromkeys(
        ("_smooth", "_initial_states", "_error_of", "_search", "_forecast", "_sweep", "trees"),
        "compiled as a part of an array function: the same words of a program",
    ),
}
"""Functions that may have more parameters, and why."""
TABLES = {"tests/proof/sabotage/breaks.py"}
"""Files that are one long table."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources() -> list[Path]:
    """Every Python file of the repository, the two links of the package left out."""
    folders = (ROOT / name for name in ("gpuspark", "kernels", "bench", "tests", "examples"))
    return sorted(file for folder in folders for file in folder.rglob("*.py") if not file.is_symlink())


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def parameters(function: Function) -> int:
    """The number of parameters, ``self`` and ``cls`` left out; none for ``PROGRAMS`` and
    ``EXCEPTIONS``."""
    decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
    if function.name in EXCEPTIONS or any(name in decorator for decorator in decorators for name in PROGRAMS):
        return 0
    listed = function.args
    names = [argument.arg for argument in (*listed.posonlyargs, *listed.args, *listed.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def too_large(name: str, text: str) -> list[str]:
    """What in a file is larger than it may be."""
    tree = ast.parse(text)
    lines = text.count("\n")
    result = [f"{name}: {lines} lines"] if lines > MOST_LINES and name not in TABLES else []
    for function in functions(tree):
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        where = f"{name}, line {function.lineno}: {function.name}"
        if length > MOST_LINES_OF_A_FUNCTION:
            result.append(f"{where} has {length} lines")
        if parameters(function) > MOST_PARAMETERS:
            result.append(f"{where} has {parameters(function)} parameters")
    return result


def test_files_functions_and_parameters_stay_small() -> None:
    files = {str(file.relative_to(ROOT)): file.read_text() for file in sources()}
    assert len(files) > 300
    assert [fault for name, text in files.items() for fault in too_large(name, text)] == []


def test_what_is_too_large_is_found() -> None:
    long = "def long():\n" + "    pass\n" * 60
    many = "def many(self, a, b, c, d, e, f, g, *, h, i): ...\n"
    words = "@array_function\ndef words(a, b, c, d, e, f, g, h, i): ...\n"
    assert len(too_large("x.py", long + many + words)) == 2
    assert too_large("x.py", "x = 1\n" * 451) == ["x.py: 451 lines"]
    assert too_large("x.py", "x = 1\n" * 450) == []
