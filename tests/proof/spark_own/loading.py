"""Spark's own tests as modules, taken from the installed PySpark and, on request, bound to gpuspark's decorators.

They travel inside PySpark, in ``python/lib/pyspark.zip``. What they import from PySpark is rewritten while they are
loaded, so that PySpark itself stays as it is for everybody else, the tests' helpers too.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

PACKAGES = ("pyspark.sql.tests", "pyspark.tests")
FUNCTIONS = ("pyspark.sql.functions", "pyspark.sql.pandas.functions")
REPLACED = ("udf", "pandas_udf")
STAND_INS = "tests.proof.spark_own.stand_ins"
OURS = "gpuspark_stand_ins"


def unpack(folder: Path) -> None:
    """Writes Spark's own tests under ``folder``: some read their own source."""
    import pyspark

    homes = tuple(package.replace(".", "/") + "/" for package in PACKAGES)
    with zipfile.ZipFile(Path(pyspark.__file__).parent / "python" / "lib" / "pyspark.zip") as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.startswith(homes)])


class Finder(importlib.abc.MetaPathFinder):
    """Finds Spark's tests under ``folder``; ``ours`` binds them to gpuspark's decorators."""

    def __init__(self, folder: Path, ours: bool) -> None:
        self.folder = folder
        self.loader = Rewritten if ours else importlib.machinery.SourceFileLoader

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith(PACKAGES):
            return None
        file = self.folder.joinpath(*fullname.split("."))
        package = file.is_dir()
        file = file / "__init__.py" if package else file.with_suffix(".py")
        if not file.exists():
            return None
        return importlib.util.spec_from_file_location(
            fullname,
            file,
            loader=self.loader(fullname, str(file)),
            submodule_search_locations=[str(file.parent)] if package else None,
        )


class Rewritten(importlib.machinery.SourceFileLoader):
    """Loads a module with gpuspark's decorators for PySpark's; lines keep their numbers."""

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:  # type: ignore[override]
        return compile(rewritten(ast.parse(data)), path, "exec", dont_inherit=True, optimize=_optimize)


def rewritten(tree: ast.Module) -> ast.Module:
    """The module with gpuspark's names where it imports or calls PySpark's."""
    tree = ast.fix_missing_locations(_Rewriter(_functions_aliases(tree)).visit(tree))
    start = 0
    while start < len(tree.body) and (
        isinstance(tree.body[start], ast.Expr) or getattr(tree.body[start], "module", None) == "__future__"
    ):
        start += 1
    tree.body[start:start] = ast.parse(f"import {STAND_INS} as {OURS}").body
    return tree


def _functions_aliases(tree: ast.Module) -> set[str]:
    """The names by which the module knows ``pyspark.sql.functions``."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname for alias in node.names if alias.name in FUNCTIONS and alias.asname}
        if isinstance(node, ast.ImportFrom) and node.module == "pyspark.sql":
            names |= {alias.asname or alias.name for alias in node.names if alias.name == "functions"}
    return names


class _Rewriter(ast.NodeTransformer):
    def __init__(self, aliases: set[str]) -> None:
        self.aliases = aliases

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
        ours = [alias for alias in node.names if alias.name in REPLACED]
        if node.module not in FUNCTIONS or not ours:
            return node
        theirs = [alias for alias in node.names if alias.name not in REPLACED]
        kept = [ast.copy_location(ast.ImportFrom(node.module, theirs, 0), node)] if theirs else []
        return [*kept, ast.copy_location(ast.ImportFrom(STAND_INS, ours, 0), node)]

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        self.generic_visit(node)
        if node.attr in REPLACED and isinstance(node.value, ast.Name) and node.value.id in self.aliases:
            node.value = ast.copy_location(ast.Name(OURS, ast.Load()), node.value)
        return node

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "mapInArrow":
            node.args.insert(0, node.func.value)
            node.func = ast.copy_location(
                ast.Attribute(ast.Name(OURS, ast.Load()), "map_in_arrow", ast.Load()), node.func
            )
        return node
