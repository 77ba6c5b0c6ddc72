"""A module that Spark's workers import for themselves. Tests change it on the driver."""

from __future__ import annotations

import functools

FACTOR = 1


def times(x):
    return x * 3 * FACTOR


def by_helper(x):
    return times(x) + 1


def _doubling(function):
    @functools.wraps(function)
    def inner(x):
        return function(x) * 2 * FACTOR

    return inner


@_doubling
def wrapped(x):
    return x * 3


def constant():
    return 1


def one_more(x):
    return x + constant()
