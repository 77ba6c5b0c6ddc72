"""The file that ``gpuspark check`` looks at, run as far as it goes: for the functions that it decorates, not for what
it does.

Statements of the top level run one after the other. One that asks for a Spark session is left out, and so is what
needs its names; ``sys.exit`` and errors end the file where they stand. What was decorated by then is checked, and
what was not run is told.
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
"""What PySpark says of a column that is made without a session."""


@dataclass
class Script:
    """A file or module that ran, and how far."""

    module: ModuleType
    notes: list[str] = field(default_factory=list)
    """What was not run, and why."""
    failed: bool = False
    """Whether an error, or an exit code other than 0, ended it."""


class _AskedForSpark(BaseException):
    """Ends a statement that starts a Spark session; no ``except Exception`` of the file's takes it."""


@contextlib.contextmanager
def script(target: str, arguments: Sequence[str] = ()) -> Iterator[Script]:
    """Runs the file or module ``target``, which finds ``arguments`` in ``sys.argv``, and gives it.

    What it changes is put back at the end: the arguments, the folder and the path of imports. What it prints goes to
    standard error. Raises :class:`~gpuspark.errors.CallError` where there is no such file or module.
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
    """Whether ``target`` is a file, and not a module's name."""
    if file.is_dir():
        raise CallError(f"{target} is a folder: name one of its files, such as {target.rstrip('/')}/job.py.")
    if file.suffix == ".ipynb":
        raise CallError(
            f"{target} is a notebook, and only Python files are checked: write its code to one with "
            f"jupyter nbconvert --to script {target}"
        )
    if file.suffix != ".py" and file.is_file():
        raise CallError(f"{target} is no Python file by its name: copy it to {file.stem}.py.")
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
        raise CallError(f"There is no module {target}; a file's name ends in .py.") from None
    except (SystemExit, _AskedForSpark) as ended:
        raise CallError(
            f"The module {target} cannot be imported: it {_how(ended)}. Name its file, which is checked as far as it "
            "runs."
        ) from None


def _run_file(file: Path) -> Script:
    """The file's top level, statement by statement."""
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
        raise CallError(f"{file.name}, line {error.lineno}, is no Python: {error.msg}.") from None
    if "pyspark" in text:
        importlib.import_module("pyspark.sql")
    missing: set[str] = set()
    with _watched(vars(ran.module)):
        for statement, code in _statements(tree, file):
            if not _run(ran, statement, code, missing):
                break
    return ran


def _run(ran: Script, statement: ast.stmt, code: CodeType, missing: set[str]) -> bool:
    """Runs one statement; whether the file goes on after it. ``missing``: names that there would be with Spark."""
    where = f"line {statement.lineno}"
    try:
        with _spark_not_started():
            exec(code, vars(ran.module))
    except _AskedForSpark:
        ran.notes.append(f"{where} is left out: it starts a Spark session")
    except (SystemExit, Exception) as error:  # noqa: BLE001  # whatever the file raises ends it, and is told
        lacks = isinstance(error, NameError) and error.name in missing
        if not (lacks or _lacks_session(error)):
            return _ended(ran, error)
        ran.notes.append(f"{where} is left out: it needs a Spark session, which is not started here")
    else:
        return True
    missing |= _names_of(statement)
    return True


def _names_of(statement: ast.stmt) -> set[str]:
    """The names that the statement would have set."""
    nodes = list(ast.walk(statement))
    assigned = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    return assigned | defined | {alias.asname or alias.name for node in imports for alias in node.names}


def _ended(ran: Script, error: BaseException) -> bool:
    """Notes that the file ended early."""
    own = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == ran.module.__file__]
    ran.failed = not (isinstance(error, SystemExit) and error.code in (None, 0))
    arguments = isinstance(error, SystemExit) and error.code == 2
    ran.notes.append(
        f"The file {_how(error)}{f' in line {own[-1]}' if own else ''}. What it decorates up to there is checked, and "
        f"nothing below.{' Its own arguments are given after --, as in: check job.py -- --rate 2' if arguments else ''}"
    )
    return False


def _how(error: BaseException) -> str:
    if isinstance(error, _AskedForSpark):
        return "starts a Spark session"
    if isinstance(error, SystemExit):
        return f"ends itself with exit code {error.code or 0!r}"
    return f"raises {type(error).__name__}: {error}"


def _lacks_session(error: BaseException) -> bool:
    """Whether PySpark raised for want of a session."""
    condition = getattr(error, "getCondition", None) or getattr(error, "getErrorClass", None)
    if condition is not None:
        return condition() in _NO_SESSION
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, AssertionError) and "pyspark" in Path(frames[-1].filename).parts


def _statements(tree: ast.Module, file: Path) -> Iterator[tuple[ast.stmt, CodeType]]:
    """Each statement with its code: the very code that it has within the whole file, by which its source is known.

    So it is compiled under the file's ``from __future__`` imports, and beside all others (in a branch that is not
    taken): calls of what a file imports have a code of their own.
    """
    flags, imports = 0, [node for node in _at_top_level(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    future = [node for node in imports if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    for feature in (getattr(__future__, alias.name) for node in future for alias in node.names):
        flags |= feature.compiler_flag
    others: list[ast.stmt] = [node for node in imports if node not in future] or [ast.Pass()]
    beside = ast.fix_missing_locations(ast.If(ast.Constant(False), others, []))
    for statement in tree.body:
        together: list[ast.stmt] = [statement] if statement in future else [beside, statement]
        yield statement, compile(ast.Module(together, []), str(file), "exec", flags, dont_inherit=True)


def _at_top_level(node: ast.AST) -> Iterator[ast.stmt]:
    """The statements outside functions and classes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _at_top_level(child)


def _name_of(file: Path) -> tuple[str, Path]:
    """The module's name, with those of the packages that the file is in, and the folder where imports of it start."""
    names, root = [file.stem], file.parent
    while (root / "__init__.py").is_file():
        names.insert(0, root.name)
        root = root.parent
    if len(names) == 1 and file.stem in sys.modules:
        names = [f"checked_{file.stem}"]  # a job may be called json.py
    return ".".join(names), root


@contextlib.contextmanager
def _watched(namespace: dict[str, Any] | None = None) -> Iterator[None]:
    """What runs here does not end the process; what it prints goes to standard error; and what the functions of
    ``namespace`` register to run at the process's end does not."""
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
    """Whatever would start Spark ends the statement, if PySpark is imported."""

    def refuse(*_arguments: Any, **_named: Any) -> Any:
        raise _AskedForSpark

    with contextlib.ExitStack() as put_back:
        if "pyspark.sql" in sys.modules:
            from pyspark import SparkContext
            from pyspark.sql import SparkSession

            put_back.enter_context(_replaced(SparkContext, "_ensure_initialized", refuse))
            for name in ("getOrCreate", "create"):
                put_back.enter_context(_replaced(SparkSession.Builder, name, refuse))
        yield


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
