"""The committed record of what the real packages accept, and whether our uses fit it.

A signature is kept as Python writes it, ``(array, *, copy=False)``, without ``self`` where a method is called on an
object. Functions in C have none that can be read; then the first words of their documentation are kept, and a
keyword must at least stand there.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gpuspark.tools.cudf_standin import signature as parsed
from tests.proof.contracts.calls import Use

FILE = Path(__file__).with_name("record.json")
MAKE = "run `make contracts`, which asks the real packages"
C_FUNCTION = "no signature: C function"
DISTRIBUTIONS = (
    "cudf-cu12", "pylibcudf-cu12", "rmm-cu12", "cupy-cuda12x", "cuda-core", "cuda-bindings", "nvidia-nvjitlink-cu12",
    "pandas", "pyarrow", "numpy", "pyspark",
)  # fmt: skip


def read() -> dict[str, Any]:
    result: dict[str, Any] = json.loads(FILE.read_text())
    return result


def versions() -> dict[str, str]:
    return {name: version(name) for name in DISTRIBUTIONS}


def looked_up(path: str) -> tuple[Any, Any]:
    """The object of a dotted name, and what it was taken from. Raises ``AttributeError`` where there is none."""
    words = path.split(".")
    for cut in range(len(words), 0, -1):
        try:
            result: Any = importlib.import_module(".".join(words[:cut]))
        except ModuleNotFoundError:
            continue
        owner = None
        for word in words[cut:]:
            owner, result = result, getattr(result, word)
        return result, owner
    raise AttributeError(f"there is no {path}")


def described(path: str) -> dict[str, str]:
    """Kind, signature and, where that cannot be read, words of what ``path`` stands for in the packages here."""
    thing, owner = looked_up(path)
    if inspect.ismodule(thing):
        return {"kind": "module"}
    if not callable(thing):
        return {"kind": "property" if inspect.isclass(owner) and not isinstance(thing, int) else "value"}
    bound = inspect.isclass(owner) and not isinstance(
        inspect.getattr_static(owner, path.rpartition(".")[2]), classmethod | staticmethod
    )
    kind = "class" if inspect.isclass(thing) else "method" if bound else "function"
    try:
        return {"kind": kind, "signature": written(inspect.signature(thing), without_first=kind == "method")}
    except (ValueError, TypeError):
        words = " ".join((thing.__doc__ or "").split())[:400]
        return {"kind": kind, "signature": C_FUNCTION, "words": words}


def written(signature: inspect.Signature, *, without_first: bool = False) -> str:
    """``signature`` without annotations; a default that is no plain value is written ``...``."""
    parameters = list(signature.parameters.values())[1 if without_first else 0 :]
    plain = (bool, int, float, str, type(None))
    kept = []
    for one in parameters:
        default = one.default
        if default is not one.empty and (not isinstance(default, plain) or default != default):
            default = ...
        kept.append(one.replace(annotation=one.empty, default=default))
    text = str(inspect.Signature(kept))
    return text.replace("=Ellipsis", "=...")


def bases(path: str) -> list[str]:
    """An error class's own name and those of what it derives from, up to ``Exception``."""
    kind, _ = looked_up(path)
    return [f"{k.__module__}.{k.__qualname__}" for k in kind.__mro__ if k not in (BaseException, object)]


def misfit(use: Use, paths: dict[str, dict[str, str]]) -> str | None:
    """Why the real packages would refuse ``use``, by the record; ``None`` where they accept it."""
    entry = paths.get(use.path)
    if entry is None:
        return f"{use} is not in the record: {MAKE}"
    if not use.called:
        return None
    signature = entry.get("signature")
    if signature is None:
        return f"{use} is called, and is a {entry['kind']}"
    if signature == C_FUNCTION:
        missing = [word for word in use.keywords if not re.search(rf"\b{word}\b", entry["words"])]
        return f"{use}: its documentation does not know {', '.join(missing)}" if missing else None
    accepted = parsed(signature)
    try:
        accepted.bind(*[None] * use.positional, **dict.fromkeys(use.keywords))
    except TypeError as refused:
        return f"{use}{signature}: {refused}"
    if use.starred and not any(p.kind is p.VAR_POSITIONAL for p in accepted.parameters.values()):
        return f"{use}{signature}: takes no *arguments"
    return None
