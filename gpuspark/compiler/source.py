"""Finds the syntax tree of a function object and verifies it.

The tree must compile to exactly the bytecode that the function holds, so that a file edited after its import is
refused rather than compiled.
"""

from __future__ import annotations

import ast
import inspect
import os
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import Any, cast

from gpuspark.compiler.private_names import mangle_private_names


class CannotCompile(Exception):
    """Raised for a function that does not compile. The message names the construct, the file and the line."""

    lasting = True
    """Whether the refusal may be kept on disk: not where, for example, only a package is missing."""


UNBOUND = object()
"""Stands for the value of a name that is not bound."""


def value_of(function: types.FunctionType, name: str) -> Any:
    """Returns the current value of ``name``, which is not local to ``function``; :data:`UNBOUND` if it has none."""
    code = function.__code__
    if name not in code.co_freevars:
        built_ins: dict[str, Any] = cast(Any, function).__builtins__  # which some stubs lack
        return function.__globals__.get(name, built_ins.get(name, UNBOUND))
    try:
        return (function.__closure__ or ())[code.co_freevars.index(name)].cell_contents
    except ValueError:
        return UNBOUND


class Unresolved(Exception):
    """Raised for a name that is not bound where the function was defined."""


@dataclass(frozen=True)
class Read:
    """One value that a program was made from: a name read in a function, an attribute of a module, or, with an empty
    ``name``, a function's own code."""

    owner: types.FunctionType | types.ModuleType
    name: str
    value: Any


_reads: ContextVar[list[Read] | None] = ContextVar("reads", default=None)


@contextmanager
def recorded_reads() -> Iterator[list[Read]]:
    """Context manager that yields a list to which every read in the block is added."""
    reads: list[Read] = []
    before = _reads.set(reads)
    try:
        yield reads
    finally:
        _reads.reset(before)


def _record(owner: types.FunctionType | types.ModuleType, name: str, value: Any) -> None:
    """Adds a read to the list of :func:`recorded_reads`, if there is one."""
    reads = _reads.get()
    if reads is not None:
        reads.append(Read(owner, name, value))


def attribute_of(module: Any, name: str) -> Any:
    """Returns the attribute ``name`` from a module's namespace; :data:`UNBOUND` for any other object or attribute.

    A module of a subclass, or with a ``__getattr__``, may answer differently each time, so these are not asked.
    """
    if type(module) is not types.ModuleType:
        return UNBOUND
    value = vars(module).get(name, UNBOUND)
    _record(module, name, value)
    return value


@dataclass(frozen=True)
class Source:
    """A function with its syntax tree and file."""

    function: types.FunctionType
    node: ast.FunctionDef | ast.Lambda
    filename: str

    def where(self, node: ast.AST | None = None) -> str:
        """Returns the position of ``node``, or of the function, for messages: ``file.py, line 12``."""
        line = getattr(node or self.node, "lineno", self.function.__code__.co_firstlineno)
        return f"{os.path.basename(self.filename)}, line {line}"

    def resolve(self, name: str) -> Any:
        """Returns the current value of a name that is not local to the function.

        Raises :class:`Unresolved` where Python would raise a ``NameError``.
        """
        value = value_of(self.function, name)
        _record(self.function, name, value)
        if value is UNBOUND:
            raise Unresolved(name)
        return value


class HoldsBody:
    """Base class of gpuspark's callables that hold a user's function and, called with numbers, call it."""

    __gpuspark_body__: Any


class HoldsItemBody(HoldsBody):
    """Base class of decorated array functions: they call the function that they hold once for each item, and can be
    called with an item only from another array function."""


def own_signature(function: Callable[..., Any]) -> inspect.Signature:
    """Returns the signature that a call of ``function`` really has, that of its code.

    :func:`inspect.signature` follows :func:`functools.wraps` and ``__signature__`` instead.

    >>> import functools
    >>> def shown(amount): ...
    >>> @functools.wraps(shown)
    ... def real(x, y=1): ...
    >>> inspect.signature(real), own_signature(real)
    (<Signature (amount)>, <Signature (x, y=1)>)

    For built-ins such as ``max``, whose parameters Python does not know, the signature accepts any arguments.
    """
    try:
        return inspect.signature(_undisguised(function))
    except ValueError:
        return _ANY_PARAMETERS


_ANY_PARAMETERS = inspect.Signature(
    [
        inspect.Parameter("values", inspect.Parameter.VAR_POSITIONAL),
        inspect.Parameter("names", inspect.Parameter.VAR_KEYWORD),
    ]
)


_CACHED = type(cache(int))


def _undisguised(function: Any) -> Any:
    """Returns a copy of ``function`` without the traces of :func:`functools.wraps` and ``__signature__``, for
    inspection only."""
    if isinstance(function, types.FunctionType):
        code, cells = function.__code__, function.__closure__
        bare = types.FunctionType(code, function.__globals__, function.__name__, function.__defaults__, cells)
        bare.__kwdefaults__, bare.__annotations__ = function.__kwdefaults__, function.__annotations__
        return bare
    if isinstance(function, types.MethodType):
        return types.MethodType(_undisguised(function.__func__), function.__self__)
    if type(function) is partial:
        return partial(_undisguised(function.func), *function.args, **function.keywords)
    if isinstance(function, HoldsBody):
        return _undisguised(function.__gpuspark_body__)
    if isinstance(function, _CACHED):
        return _undisguised(function.__wrapped__)
    call = type(function).__call__
    if isinstance(call, types.FunctionType) and not isinstance(function, type):
        return types.MethodType(_undisguised(call), function)
    return function


_RETURNS_NO_VALUE = {
    inspect.CO_COROUTINE: "a coroutine (async def)",
    inspect.CO_ASYNC_GENERATOR: "an asynchronous generator (async def with yield)",
    inspect.CO_GENERATOR: "a generator (yield)",
}
_PYTEST = ("@pytest_ar", "@py_builtins")
"""Prefixes of the names that pytest's assertion rewriting puts into functions."""


def read(function: Any) -> Source:
    """Returns the verified source of a plain Python function or lambda.

    Raises :class:`CannotCompile` for a built-in, a callable object, a function typed into a console that keeps no
    source, and a function whose file has changed.
    """
    if not isinstance(function, types.FunctionType):
        raise CannotCompile(f"{function!r} is a {type(function).__name__}, not a plain Python function")
    code = function.__code__
    _record(function, "", function)
    for flag, result in _RETURNS_NO_VALUE.items():
        if code.co_flags & flag:
            line = f"{os.path.basename(code.co_filename)}, line {code.co_firstlineno}"
            raise CannotCompile(
                f"a call of {function.__name__} gives {result} and no value: return the value itself ({line})"
            )
    no_source = (
        f"the source of {function.__name__} cannot be found (a console keeps none): define it in a file or a notebook"
    )
    try:
        lines, _ = inspect.findsource(code)
    except (OSError, TypeError):
        raise CannotCompile(no_source) from None
    for candidate, node in _functions("".join(lines), code.co_filename):
        if candidate.co_firstlineno == code.co_firstlineno and _same_code(candidate, code):
            return Source(function, node, code.co_filename)
    if any(name.startswith(_PYTEST) for name in code.co_names):
        raise CannotCompile(
            f"pytest has rewritten the asserts of {function.__name__}, which is compiled from its source: define it in "
            "a module that holds no tests, or run pytest with --assert=plain"
        )
    if code.co_filename == "<string>":  # evaluated, where Python 3.13 keeps the text of its -c under this name
        raise CannotCompile(no_source)
    raise CannotCompile(
        f"the source of {function.__name__} in {os.path.basename(code.co_filename)} "
        "is not what Python loaded: import it again"
    )


@lru_cache(maxsize=64)
def _functions(text: str, filename: str) -> tuple[tuple[types.CodeType, ast.FunctionDef | ast.Lambda], ...]:
    """Returns the code object and the tree of every function in a file."""
    try:
        tree = ast.parse(text, filename)
        module = compile(tree, filename, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):  # a notebook cell with magics, or null bytes
        return ()
    mangle_private_names(tree)
    nodes: dict[int, list[ast.FunctionDef | ast.Lambda]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            nodes.setdefault(_first_line(node), []).append(node)
    pairs = ((code, _node_of(code, nodes.get(code.co_firstlineno, []))) for code in _codes(module))
    return tuple((code, node) for code, node in pairs if node is not None)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yields every code object inside ``code``."""
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _codes(constant)


def _first_line(node: ast.FunctionDef | ast.Lambda) -> int:
    """Returns the line that a code object calls its first: that of the first decorator, if there is one."""
    decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
    return min([node.lineno, *(d.lineno for d in decorators)])


def _node_of(
    code: types.CodeType, candidates: list[ast.FunctionDef | ast.Lambda]
) -> ast.FunctionDef | ast.Lambda | None:
    """Returns the tree of ``code`` among the functions that begin on its line: of several lambdas, the smallest one
    that encloses its instructions."""
    if code.co_name != "<lambda>":
        return next((n for n in candidates if isinstance(n, ast.FunctionDef) and n.name == code.co_name), None)
    spans = [p for p in code.co_positions() if None not in p and p[2:] != (0, 0)]
    lambdas = [n for n in candidates if isinstance(n, ast.Lambda)]
    if not spans:  # it returns a constant, and Python 3.12 keeps no position for that
        return next((n for n in lambdas if _same_code(_compiled(n), code)), None)
    start = min((line, column) for line, _, column, _ in spans)
    end = max((line, column) for _, line, _, column in spans)
    around = [n for n in lambdas if _start(n.body) <= start and end <= _end(n.body)]
    return min(around, key=lambda n: (_end(n)[0] - _start(n)[0], _end(n)[1] - _start(n)[1]), default=None)


def _compiled(node: ast.Lambda) -> types.CodeType:
    """Returns the code object of a lambda."""
    return next(_codes(compile(ast.Expression(node), "", "eval", dont_inherit=True)))


def _start(node: ast.expr) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: ast.expr) -> tuple[int, int]:
    return node.end_lineno or 0, node.end_col_offset or 0


def _same_code(code: types.CodeType, other: types.CodeType) -> bool:
    """Returns whether two code objects have equal bytecode, names and constants; positions may differ."""
    if len(code.co_consts) != len(other.co_consts):
        return False
    same_constants = all(
        _same_code(a, b)
        if isinstance(a, types.CodeType) and isinstance(b, types.CodeType)
        else type(a) is type(b) and repr(a) == repr(b)
        for a, b in zip(code.co_consts, other.co_consts, strict=True)
    )
    return same_constants and all(
        getattr(code, name) == getattr(other, name)
        for name in ("co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_argcount")
    )
