"""A small call of each operation that is made of array functions, for tests that want all of them: the machine code
of their programs, and the CUDA device on its stub driver.

A file ``tests/kernels/test_*.py`` defines the sample of an operation as a function ``sample_<operation>()`` without
parameters. Its result is read by :func:`columns`; the tests beside it say what is right.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any
from unittest import mock

import numpy as np

from gpuspark.compiler import Parameter
from gpuspark.execution import arrays
from gpuspark.testing import on_device

KERNEL_TESTS = Path(__file__).parents[1] / "kernels"


def _call(module: str, function: str) -> Any:
    return getattr(importlib.import_module(module), function)()


def _samples() -> dict[str, Callable[[], Any]]:
    """Returns the samples by the name of their operation, in alphabetical order.

    A test file is imported when one of its samples is called: all of them together import much.
    """
    samples: dict[str, Callable[[], Any]] = {}
    for file in KERNEL_TESTS.glob("test_*.py"):
        for operation in re.findall(r"^def sample_(\w+)\(\)", file.read_text(), re.MULTILINE):
            assert operation not in samples, f"{operation} has two samples"
            samples[operation] = partial(_call, f"tests.kernels.{file.stem}", f"sample_{operation}")
    return dict(sorted(samples.items()))


SAMPLES = _samples()


def columns(result: Any) -> dict[str, list[Any]]:
    """Returns a sample's result as lists by name: one column, several, or those of a dataclass."""
    if isinstance(result, list | tuple):
        named = {str(n): column for n, column in enumerate(result)}
    elif is_dataclass(result) and not isinstance(result, type):
        named = {f.name: getattr(result, f.name) for f in fields(result)}
    else:
        named = {"result": result}
    return {name: _listed(column) for name, column in named.items()}


def _listed(column: Any) -> list[Any]:
    if hasattr(column, "to_arrow"):
        column = column.to_arrow()
    values: list[Any] = column.to_pylist() if hasattr(column, "to_pylist") else np.asarray(column).tolist()
    return values


@contextmanager
def recorded() -> Iterator[dict[tuple[str, FunctionType, tuple[Parameter, ...]], None]]:
    """Context manager that yields the array functions called inside it, in the order of their first calls: name,
    function and parameters, as keys of a dictionary."""
    seen: dict[tuple[str, FunctionType, tuple[Parameter, ...]], None] = {}
    runner = arrays.ArrayRunner

    def spy(name, function, parameters, config):
        seen[name, function, parameters] = None
        return runner(name, function, parameters, config)

    with mock.patch.object(arrays, "ArrayRunner", spy):
        yield seen


def array_programs() -> Iterator[tuple[str, FunctionType, tuple[Parameter, ...]]]:
    """Yields every array function that the samples call: a name, the function and its parameters."""
    seen: set[tuple[str, FunctionType, tuple[Parameter, ...]]] = set()
    for operation, call in SAMPLES.items():
        with recorded() as calls, on_device("python"):
            call()
        for entry in calls:
            if entry not in seen:
                seen.add(entry)
                name, function, parameters = entry
                yield f"{operation}: {name.lstrip('_')}", function, parameters
