"""Python's bit operators on booleans and integers: ``~``, ``&``, ``|``, ``^``, ``<<`` and ``>>``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuspark.compiler.operations.registry import MARKED, is_boolean, is_integer, operation


@operation
def invert(checked: bool, a: Any, row: Any) -> Any:
    return (lambda a, row: ~np.int64(a)) if is_integer(a) else None


@operation
def and_(checked: bool, a: Any, b: Any, row: Any) -> Any:
    if is_boolean(a) and is_boolean(b):
        return lambda a, b, row: bool(a) & bool(b)
    return (lambda a, b, row: np.int64(a) & np.int64(b)) if is_integer(a) and is_integer(b) else None


@operation
def or_(checked: bool, a: Any, b: Any, row: Any) -> Any:
    if is_boolean(a) and is_boolean(b):
        return lambda a, b, row: bool(a) | bool(b)
    return (lambda a, b, row: np.int64(a) | np.int64(b)) if is_integer(a) and is_integer(b) else None


@operation
def xor(checked: bool, a: Any, b: Any, row: Any) -> Any:
    if is_boolean(a) and is_boolean(b):
        return lambda a, b, row: bool(a) ^ bool(b)
    return (lambda a, b, row: np.int64(a) ^ np.int64(b)) if is_integer(a) and is_integer(b) else None


@operation
def lshift(checked: bool, a: Any, b: Any, row: Any) -> Any:
    if not (is_integer(a) and is_integer(b)):
        return None

    def shift(a, b, row):
        x, places = np.int64(a), np.int64(b)
        if places < 0 or places > 63:
            if checked and (places < 0 or x != 0):
                row[0][0] = MARKED
            return np.int64(0)
        shifted = x << places
        if checked and (shifted >> places) != x:
            row[0][0] = MARKED
        return shifted

    return shift


@operation
def rshift(checked: bool, a: Any, b: Any, row: Any) -> Any:
    if not (is_integer(a) and is_integer(b)):
        return None

    def shift(a, b, row):
        x, places = np.int64(a), np.int64(b)
        if places < 0:
            if checked:
                row[0][0] = MARKED
            return np.int64(0)
        return x >> min(places, np.int64(63))

    return shift
