"""Whether an answer hangs on the last bits of a function of mathematics.

Devices and Python use different libraries for ``exp``, ``log``, ``**``: their results differ by a few units in the
last place, and a body may make more of such a difference. So where a device's answer is not Python's to within the
tolerance, the module of the body is loaded anew with every function of mathematics moved by a few units: the
difference is excused only if Python's own answer then moves as much.
"""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import importlib.util
import math
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gpuspark.columns.values import to_python
from gpuspark.execution.rowwise import interpret
from gpuspark.execution.scalar import ScalarFunction
from gpuspark.execution.verify import LIBM_ULP

MOVES = (-LIBM_ULP, -1, 1, LIBM_ULP)
EXACT = frozenset(
    "sqrt floor ceil trunc fabs absolute copysign degrees radians deg2rad rad2deg fmod isnan isinf isfinite maximum "
    "minimum fmax fmin sign isclose float64 float32 bool_ round rint signbit".split()
)
"""What every library answers alike."""


class Moved(types.ModuleType):
    """``math`` or ``numpy`` whose functions are off by so many units in the last place."""

    def __init__(self, module: types.ModuleType, ulp: int) -> None:
        super().__init__(module.__name__)
        self._module, self._ulp = module, ulp

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._module, name)
        if name in EXACT or not callable(function) or isinstance(function, type):
            return function
        return lambda *values, **named: self.move(function(*values, **named))

    def move(self, value: Any) -> Any:
        """``value`` moved, where it is a float and not zero, which every library gives exactly."""
        if not isinstance(value, float) or value == 0.0:
            return value
        moved = float(value)
        for _ in range(abs(self._ulp)):
            moved = math.nextafter(moved, math.copysign(math.inf, self._ulp))
        return type(value)(moved)


class _Rewriter(ast.NodeTransformer):
    """Makes the imports of ``math`` and ``numpy`` imports of moved ones, and ``a ** b`` a call."""

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        kept = [alias for alias in node.names if alias.name not in ("math", "numpy")]
        moved = [
            ast.parse(f"{alias.asname or alias.name} = _moved_{alias.name}").body[0]
            for alias in node.names
            if alias not in kept
        ]
        return [*([ast.Import(kept)] if kept else []), *moved]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
        if node.module not in ("math", "numpy") or any(alias.name == "*" for alias in node.names):
            return node
        return [
            ast.parse(f"{alias.asname or alias.name} = _moved_{node.module}.{alias.name}").body[0]
            for alias in node.names
        ]

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        if not isinstance(node.op, ast.Pow):
            return node
        return ast.Call(ast.Name("_moved_power", ast.Load()), [node.left, node.right], [])


@cache
def _rewritten(path: str) -> types.CodeType:
    """The code of a file, the same for every move."""
    tree = _Rewriter().visit(ast.parse(Path(path).read_bytes(), path))
    return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module with moved functions of mathematics."""

    def __init__(self, fullname: str, path: str, ulp: int) -> None:
        super().__init__(fullname, path)
        self.ulp = ulp

    def get_code(self, fullname: str) -> Any:
        return _rewritten(self.get_filename(fullname))

    def exec_module(self, module: types.ModuleType) -> None:
        vars(module).update(moved_names(self.ulp))
        super().exec_module(module)


def moved_names(ulp: int) -> dict[str, Any]:
    """What a rewritten module calls."""
    mathematics = Moved(math, ulp)
    return {
        "_moved_math": mathematics,
        "_moved_numpy": Moved(np, ulp),
        "_moved_power": lambda base, exponent: mathematics.move(base**exponent),
        "pow": lambda *values: mathematics.move(pow(*values)),
    }


class _Finder(MetaPathFinder):
    """Finds the modules of one package, for loading with moved mathematics."""

    def __init__(self, package: str, ulp: int) -> None:
        self.package, self.ulp = package, ulp

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> Any:
        if fullname.partition(".")[0] != self.package:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
            spec.loader = _Loader(fullname, spec.origin, self.ulp)
        return spec


@contextmanager
def _set_aside(package: str) -> Iterator[None]:
    """Modules of ``package`` are imported anew in the block; the old ones come back after it."""

    def own() -> list[str]:
        return [name for name in sys.modules if name.partition(".")[0] == package]

    before = {name: sys.modules.pop(name) for name in own()}
    try:
        yield
    finally:
        for name in own():
            del sys.modules[name]
        sys.modules.update(before)


@cache
def _package_anew(module: str, ulp: int) -> types.ModuleType:
    """A module, and those of its package that it imports, with moved mathematics."""
    package = module.partition(".")[0]
    finder = _Finder(package, ulp)
    sys.meta_path.insert(0, finder)
    try:
        with _set_aside(package):
            return importlib.import_module(module)
    finally:
        sys.meta_path.remove(finder)


@cache
def _file_anew(path: str, ulp: int) -> types.ModuleType:
    """The module of one file, with moved mathematics."""
    spec = importlib.util.spec_from_file_location("moved", path, loader=_Loader("moved", path, ulp))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def moved(body: Callable[..., Any], ulp: int) -> Callable[..., Any]:
    """``body``, a function of the top level of its module, with its mathematics moved by ``ulp`` units."""
    known = sys.modules.get(body.__module__)
    if known is None or Path(body.__code__.co_filename).parent == Path(__file__).parent:
        return getattr(_file_anew(body.__code__.co_filename, ulp), body.__name__)
    return getattr(_package_anew(body.__module__, ulp), body.__name__)


@dataclass(frozen=True)
class Answer:
    """What one row gave: a value, or the name of an error."""

    value: Any
    error: str = ""

    def __str__(self) -> str:
        return self.error or repr(self.value)


def answer(function: ScalarFunction, columns: Sequence[pa.Array]) -> Answer:
    """Python's answer for the first and only row of ``columns``."""
    try:
        return Answer(to_python(interpret(function, columns))[0])
    except Exception as error:  # noqa: BLE001  (the error is the answer)
        return Answer(None, type(error).__name__)


def excused(function: ScalarFunction, columns: Sequence[pa.Array], ours: Answer, theirs: Answer) -> bool:
    """Whether Python's answer for one row moves as far as ``ours`` is from ``theirs``, with its mathematics moved."""
    bodies = [function.function, *(moved(function.function, ulp) for ulp in MOVES)]
    answers = [answer(replace(function, function=body), columns) for body in bodies]
    if len({(a.error, type(a.value)) for a in answers}) > 1:
        return True  # on the edge of an error, or of a branch with another type
    if theirs.error or ours.error:
        return False
    values = [a.value for a in answers]
    if not isinstance(values[0], float):
        return len(set(values)) > 1
    if len({math.isnan(value) for value in values}) > 1:
        return True
    spread = max(values) - min(values)
    floats = isinstance(ours.value, float) and isinstance(theirs.value, float)
    return floats and bool(abs(ours.value - theirs.value) <= 4 * spread)
