"""The text of docs/api.md: every public name of gpuspark, with its signature and docstring, in Markdown."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import gpuspark as gs


class _Bare(str):
    """An annotation that prints without quotes."""

    def __repr__(self) -> str:
        return str(self)


def reference() -> str:
    """Returns the reference: functions, then classes, then modules, each in alphabetical order."""
    public = {name: getattr(gs, name) for name in sorted(gs.__all__, key=str.lower) if not name.startswith("__")}
    modules = {name: value for name, value in public.items() if isinstance(value, ModuleType)}
    classes = {name: value for name, value in public.items() if isinstance(value, type)}
    functions = {name: value for name, value in public.items() if name not in {**modules, **classes}}
    parts = ["## Functions and decorators", *(_function(name, value) for name, value in functions.items())]
    parts += ["## Classes", *(_class(name, value) for name, value in classes.items())]
    parts += ["## Modules", *(_module(name, value) for name, value in modules.items())]
    return "\n\n".join(parts)


def markdown(docstring: str) -> str:
    """Returns a docstring in Markdown: roles and double backticks become code, examples and literal blocks fences.

    >>> print(markdown("Calls :func:`~a.b` with ``x``."))
    Calls `b` with `x`.
    """
    text = re.sub(r":\w+:`~(?:[\w.]+\.)?(\w+)`", r"`\1`", docstring)
    text = re.sub(r":\w+:`([\w.]+)`", r"`\1`", text).replace("``", "`").replace("  # doctest: +SKIP", "")
    blocks: list[str] = []
    literal = False
    for block in re.split(r"\n{2,}", text.strip()):
        if block.startswith(">>>"):
            blocks.append(f"```pycon\n{block}\n```")
        elif literal and block.startswith("    "):
            blocks.append(f"```text\n{textwrap.dedent(block)}\n```")
        else:
            literal = block.endswith("::")
            blocks.append(block.removesuffix("::").rstrip() + ":" if literal and block != "::" else block)
    return "\n\n".join(block for block in blocks if block != "::").replace("```\n\n```text\n", "\n")


def _function(name: str, function: Any) -> str:
    return f"### `gs.{name}`\n\n```text\n{name}{_signature(function)}\n```\n\n{markdown(_doc(function))}"


def _class(name: str, cls: type) -> str:
    rows = [_row(member, text) for member, text in _members(cls)]
    table = ["", "| member | |", "|---|---|", *rows] if rows else []
    made = "" if is_dataclass(cls) else f"```text\n{name}{_signature(cls)}\n```\n\n"
    return "\n".join([f"### `gs.{name}`\n\n{made}{markdown(_doc(cls))}", *table])


def _module(name: str, module: ModuleType) -> str:
    names = getattr(module, "__all__", None) or [
        member
        for member, value in vars(module).items()
        if not member.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    members = [(member, getattr(module, member)) for member in sorted(names, key=str.lower)]
    described = [(member, value) for member, value in members if callable(value)]
    rows = [_row(member, _doc(value)) for member, value in described]
    return "\n".join([f"### `gs.{name}`", "", markdown(_doc(module)), "", "| name | |", "|---|---|", *rows])


def _members(cls: type) -> Iterator[tuple[str, str]]:
    """Yields the public members of ``cls`` itself, each with its docstring: attributes, properties, then methods."""
    yield from _attributes(cls).items()
    members = {name: value for name, value in vars(cls).items() if not name.startswith("_")}
    for name, value in members.items():
        if isinstance(value, property | cached_property):
            yield name, _doc(value)
    for name, value in members.items():
        method = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if inspect.isfunction(method):
            yield f"{name}{_signature(getattr(cls, name), leave_out_self=True)}", _doc(method)


def _attributes(cls: type) -> dict[str, str]:
    """Returns the fields of a dataclass and the attributes that the constructor sets, with the strings below them."""
    [tree] = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    bodies = [tree.body, *(node.body for node in tree.body if getattr(node, "name", "") == "__init__")]  # type: ignore[attr-defined]
    result: dict[str, str] = {}
    for body in bodies:
        for statement, following in zip(body, [*body[1:], ast.Pass()], strict=True):
            target = getattr(statement, "target", None) or getattr(statement, "targets", [None])[0]
            name = str(getattr(target, "id", None) or getattr(target, "attr", "_"))
            match following:
                case ast.Expr(ast.Constant(str(text))):
                    described = text
                case _:
                    described = ""
            field = body is tree.body and isinstance(statement, ast.AnnAssign)  # type: ignore[attr-defined]
            if not name.startswith("_") and (described or field):
                result[name] = described
    return result


def _signature(function: Any, *, leave_out_self: bool = False) -> str:
    signature = getattr(function, "signature", None) or inspect.signature(function)
    parameters = [p.replace(annotation=_bare(p.annotation)) for p in signature.parameters.values()]
    if leave_out_self and parameters and parameters[0].name == "self":
        parameters = parameters[1:]
    return str(signature.replace(parameters=parameters, return_annotation=_bare(signature.return_annotation)))


def _bare(annotation: Any) -> Any:
    return _Bare(annotation) if isinstance(annotation, str) else annotation


def _doc(thing: Any) -> str:
    return inspect.getdoc(thing) or ""


def _row(name: str, docstring: str) -> str:
    """Returns a row of a table: the name, and the first sentence of the docstring."""
    paragraph = " ".join(markdown(docstring).partition("\n\n")[0].split())
    sentence = re.split(r"(?<=[.!?])\s", paragraph, maxsplit=1)[0]
    code, meaning = (text.replace("|", "\\|") for text in (name, sentence))
    return f"| `{code}` | {meaning} |"
