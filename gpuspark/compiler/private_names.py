"""Private names: inside a class ``Job``, Python reads ``__rate`` as ``_Job__rate``."""

from __future__ import annotations

import ast


def mangle_private_names(tree: ast.AST) -> None:
    """Replaces the private names inside the classes of ``tree``, in place, by those that Python reads.

    Names of functions and of keyword arguments stay as they are written, as in Python's bytecode.
    """
    nodes: list[tuple[ast.AST, str]] = [(tree, "")]
    while nodes:
        node, owner = nodes.pop()
        _rename(node, owner)
        for child in ast.iter_child_nodes(node):
            inside = isinstance(node, ast.ClassDef) and any(child is statement for statement in node.body)
            nodes.append((child, node.name.lstrip("_") if isinstance(node, ast.ClassDef) and inside else owner))


def mangled(name: str, owner: str) -> str:
    """Returns the name that Python reads in the class ``owner``, given without its leading underscores.

    >>> mangled("__rate", "Job"), mangled("__name__", "Job"), mangled("_rate", "Job"), mangled("__rate", "")
    ('_Job__rate', '__name__', '_rate', '__rate')
    """
    private = owner and name.startswith("__") and not name.endswith("__") and "." not in name
    return f"_{owner}{name}" if private else name


def _rename(node: ast.AST, owner: str) -> None:
    """Mangles the names that ``node`` itself holds."""
    match node:
        case ast.Name():
            node.id = mangled(node.id, owner)
        case ast.Attribute():
            node.attr = mangled(node.attr, owner)
        case ast.arg():
            node.arg = mangled(node.arg, owner)
        case ast.alias():
            node.name, node.asname = mangled(node.name, owner), node.asname and mangled(node.asname, owner)
        case ast.Global() | ast.Nonlocal():
            node.names = [mangled(name, owner) for name in node.names]
        case ast.ExceptHandler() | ast.MatchAs() | ast.MatchStar() if node.name:
            node.name = mangled(node.name, owner)
        case ast.MatchMapping(rest=str() as name):
            node.rest = mangled(name, owner)
