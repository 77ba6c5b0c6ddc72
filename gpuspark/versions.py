"""The versions of the packages that decide what gpuspark does."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


def installed(distributions: Iterable[str]) -> dict[str, str]:
    """The version of each of ``distributions`` that is installed here.

    >>> sorted(installed(["numpy", "no-such-distribution"]))
    ['numpy']
    """
    found = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
