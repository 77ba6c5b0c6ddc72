"""Versions of installed packages."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


def installed(distributions: Iterable[str]) -> dict[str, str]:
    """Returns the version of each of ``distributions`` that is installed.

    >>> sorted(installed(["numpy", "no-such-distribution"]))
    ['numpy']
    """
    versions = {}
    for name in distributions:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
