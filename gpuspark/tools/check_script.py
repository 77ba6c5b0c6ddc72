"""Runs the file that ``gpuspark check`` checks, without Spark, as far as possible: to get the functions that it
decorates, not for its effects.

Top-level statements run one by one. A statement that needs a Spark session is skipped, and so are those that need the
names it would have set. ``sys.exit`` and other errors end the file. What was decorated until then is checked, and what
was not run is reported.
"""

from __future__ import annotations
import __future__

import ast
import atexit
import contextlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from gpuspark.errors import CallError

_NO_SESSION = {"SESSION_OR_CONTEXT_NOT_EXISTS", "NO_ACTIVE_SESSION", "NO_ACTIVE_OR_DEFAULT_SESSION"}
"""PySpark's error conditions for a column that is made without a session."""


@dataclass
class Script:
    """A file or module that was run, and how far."""

    module: ModuleType
    notes: list[str] = field(default_factory=list)
    """Which statements were not run, and why."""
    failed: bool = False
    """Whether an error or a non-zero exit code ended it."""


class _AskedForSpark(BaseException):
    """Ends a statement that starts a Spark session. The file's own ``except Exception`` cannot catch it."""


@contextlib.contextmanager
def script(target: str, arguments: Sequence[str] = ()) -> Iterator[Script]:
    """Context manager that runs the file or module ``target`` with ``arguments`` in ``sys.argv``, and returns it.

    At the end ``sys.argv``, ``sys.path`` and the working directory are restored. What the file prints goes to standard
    error. Raises :class:`~gpuspark.errors.CallError` if there is no such file or module.
    """
    folder, path = Path.cwd(), list(sys.path)
    file = Path(os.path.abspath(target))
    is_file = _is_file(target, file)
    sys.path[:0] = [str(folder)] if not is_file else []
    try:
        with _replaced(sys, "argv", [target, *arguments]):
            yield _run_file(file) if is_file else _import(target)
    finally:
        os.chdir(folder)
        sys.path[:] = path


def _is_file(target: str, file: Path) -> bool:
    """Returns whether ``target`` is a file, not the name of a module. Raises :class:`~gpuspark.errors.CallError`."""
    if file.is_dir():
        raise CallError(f"{target} is a folder: name one of its files, such as {target.rstrip('/')}/job.py.")
    if file.suffix == ".ipynb":
        raise CallError(
            f"{target} is a notebook, but only Python files can be checked: convert it with "
            f"jupyter nbconvert --to script {target}"
        )
    if file.suffix != ".py" and file.is_file():
        raise CallError(f"The name of {target} does not end in .py: copy it to {file.stem}.py.")
    if file.suffix == ".py" and not file.is_file():
        raise CallError(f"There is no file {target}.")
    return file.suffix == ".py"


def _import(target: str) -> Script:
    try:
        with _watched(), _spark_not_started():
            return Script(importlib.import_module(target))
    except ModuleNotFoundError as error:
        if error.name is None or not f"{target}.".startswith(f"{error.name}."):
            raise
        raise CallError(f"There is no module {target}; the name of a file ends in .py.") from None
    except (SystemExit, _AskedForSpark) as error:
        raise CallError(
            f"The module {target} cannot be imported: it {_how(error)}. Name its file, which is checked as far as it "
            "runs."
        ) from None


def _run_file(file: Path) -> Script:
    """Runs the top level of the file, statement by statement."""
    text = importlib.util.decode_source(file.read_bytes())
    name, root = _name_of(file)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    ran = Script(importlib.util.module_from_spec(spec))
    sys.modules[name] = ran.module
    sys.path.insert(0, str(root))
    try:
        tree = ast.parse(text, str(file))
    except SyntaxError as error:
        raise CallError(f"{file.name}, line {error.lineno}, is not valid Python: {error.msg}.") from None
    if "pyspark" in text:
        importlib.import_module("pyspark.sql")
    missing: set[str] = set()
    with _watched(vars(ran.module)):
        for statement, code in _statements(tree, file):
            if not _run(ran, statement, code, missing):
                break
    return ran


def _run(ran: Script, statement: ast.stmt, code: CodeType, missing: set[str]) -> bool:
    """Runs one statement; returns whether the file continues after it. ``missing``: the names that skipped statements
    would have set."""
    where = f"line {statement.lineno}"
    try:
        with _spark_not_started():
            exec(code, vars(ran.module))
    except _AskedForSpark:
        ran.notes.append(f"{where} is skipped: it starts a Spark session")
    except (SystemExit, Exception) as error:  # noqa: BLE001  # whatever the file raises ends it, and is reported
        lacks_name = isinstance(error, NameError) and error.name in missing
        if not (lacks_name or _lacks_session(error)):
            return _ended(ran, error)
        ran.notes.append(f"{where} is skipped: it needs a Spark session, which is not started here")
    else:
        return True
    missing |= _names_of(statement)
    return True


def _names_of(statement: ast.stmt) -> set[str]:
    """Returns the names that the statement would have set."""
    nodes = list(ast.walk(statement))
    assigned = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    return assigned | defined | {alias.asname or alias.name for node in imports for alias in node.names}


def _ended(ran: Script, error: BaseException) -> bool:
    """Adds a note that the file ended early. Returns ``False``: it does not continue."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == ran.module.__file__]
    ran.failed = not (isinstance(error, SystemExit) and error.code in (None, 0))
    hint = ""
    if isinstance(error, SystemExit) and error.code == 2:
        hint = " Its own arguments are given after --, as in: check job.py -- --rate 2"
    ran.notes.append(
        f"The file {_how(error)}{f' in line {lines[-1]}' if lines else ''}. What it decorates before that is checked, "
        f"and nothing after it.{hint}"
    )
    return False


def _how(error: BaseException) -> str:
    """Returns what ended the file, as the rest of a sentence about it."""
    if isinstance(error, _AskedForSpark):
        return "starts a Spark session"
    if isinstance(error, SystemExit):
        return f"ends itself with exit code {error.code or 0!r}"
    return f"raises {type(error).__name__}: {error}"


def _lacks_session(error: BaseException) -> bool:
    """Returns whether PySpark raised ``error`` because there is no session."""
    condition = getattr(error, "getCondition", None) or getattr(error, "getErrorClass", None)
    if condition is not None:
        return condition() in _NO_SESSION
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, AssertionError) and "pyspark" in Path(frames[-1].filename).parts


def _statements(tree: ast.Module, file: Path) -> Iterator[tuple[ast.stmt, CodeType]]:
    """Yields each statement with its code object, which must be the one that it has when the whole file is compiled:
    the compiler of gpuspark finds the source of a function by its code.

    So each statement is compiled with the file's ``from __future__`` imports, and together with all other imports (in
    a branch that is not taken): Python compiles calls of imported names differently.
    """
    flags, imports = 0, [node for node in _at_top_level(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    future = [node for node in imports if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    for feature in (getattr(__future__, alias.name) for node in future for alias in node.names):
        flags |= feature.compiler_flag
    others: list[ast.stmt] = [node for node in imports if node not in future] or [ast.Pass()]
    untaken = ast.fix_missing_locations(ast.If(ast.Constant(False), others, []))
    for statement in tree.body:
        compiled: list[ast.stmt] = [statement] if statement in future else [untaken, statement]
        yield statement, compile(ast.Module(compiled, []), str(file), "exec", flags, dont_inherit=True)


def _at_top_level(node: ast.AST) -> Iterator[ast.stmt]:
    """Yields the statements outside functions and classes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _at_top_level(child)


def _name_of(file: Path) -> tuple[str, Path]:
    """Returns the file's full module name, with the packages that it is in, and the folder of the outermost one."""
    names, root = [file.stem], file.parent
    while (root / "__init__.py").is_file():
        names.insert(0, root.name)
        root = root.parent
    if len(names) == 1 and file.stem in sys.modules:
        names = [f"checked_{file.stem}"]  # a job may have the name of a module, such as json.py
    return ".".join(names), root


@contextlib.contextmanager
def _watched(namespace: dict[str, Any] | None = None) -> Iterator[None]:
    """Context manager in which ``os._exit`` does not end the process, output goes to standard error, and functions
    that code in ``namespace`` registers with ``atexit`` are ignored."""
    register = atexit.register

    def end(code: int) -> None:
        raise SystemExit(code)

    def register_others(function: Any, *arguments: Any, **named: Any) -> Any:
        if inspect.stack(0)[1].frame.f_globals is namespace:
            return function
        return register(function, *arguments, **named)

    with (
        contextlib.redirect_stdout(sys.stderr),
        _replaced(os, "_exit", end),
        _replaced(atexit, "register", register_others),
    ):
        yield


@contextlib.contextmanager
def _spark_not_started() -> Iterator[None]:
    """Context manager in which starting Spark raises :class:`_AskedForSpark`, if PySpark is imported."""

    def refuse(*_arguments: Any, **_named: Any) -> Any:
        raise _AskedForSpark

    with contextlib.ExitStack() as replacements:
        if "pyspark.sql" in sys.modules:
            from pyspark import SparkContext
            from pyspark.sql import SparkSession

            replacements.enter_context(_replaced(SparkContext, "_ensure_initialized", refuse))
            for name in ("getOrCreate", "create"):
                replacements.enter_context(_replaced(SparkSession.Builder, name, refuse))
        yield


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
