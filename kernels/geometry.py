"""Polygons as others hold them (GeoJSON, ``__geo_interface__``, well-known binary, nested lists) as rings of points."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.kernels.spec import CallError

Ring = NDArray[np.float64]
"""Points, one in each row, without repeating the first at the end."""

_POLYGON, _MULTIPOLYGON = 3, 6
"""Codes of well-known binary: OGC 06-103r4, Simple Feature Access, part 1, table 7."""


def each_geometry(geometries: Any) -> list[Any]:
    """Returns the geometries of a sequence or a collection, or a list of the one geometry."""
    described = _described(geometries)
    if isinstance(described, Mapping):
        part = {"FeatureCollection": "features", "GeometryCollection": "geometries"}.get(described.get("type", ""))
        return list(described[part]) if part else [described]
    if isinstance(geometries, bytes | bytearray | memoryview):
        return [geometries]
    if isinstance(geometries, Iterable) and not isinstance(geometries, str):
        return list(geometries)
    raise CallError(f"a {type(geometries).__name__} is not a sequence of polygons: give a list of them")


def rings_of(geometry: Any, number: int) -> list[Ring]:
    """Returns the rings of a polygon or multipolygon, outlines and holes alike. ``number``: its number, for errors.

    Raises :class:`~gpuspark.errors.CallError` for what is not a polygon, for a ring of fewer than three points, and for
    coordinates that are not finite or not below 1e100.
    """
    try:
        rings = [np.array([point[:2] for point in ring], np.float64) for ring in _nested(geometry, number)]
    except CallError:
        raise
    except (TypeError, ValueError, IndexError, struct.error) as error:
        raise CallError(f"polygon {number} cannot be read ({error}): {_ACCEPTED}") from error
    return [_checked(ring, number) for ring in rings if len(ring)]


_ACCEPTED = (
    "give shapely's polygons and multipolygons, GeoJSON's, well-known binary, or a list of rings of points (x, y)"
)


def _described(geometry: Any) -> Any:
    """Returns the geometry's ``__geo_interface__``, or the geometry itself where it has none."""
    return getattr(geometry, "__geo_interface__", geometry)


def _nested(geometry: Any, number: int) -> list[Any]:
    """Returns the rings as sequences of points."""
    geometry = _described(geometry)
    if isinstance(geometry, bytes | bytearray | memoryview):
        return _binary(bytes(geometry), number)
    if isinstance(geometry, Mapping):
        if geometry.get("type") == "Feature":
            return _nested(geometry["geometry"], number)
        if geometry.get("type") not in ("Polygon", "MultiPolygon"):
            raise CallError(f"polygon {number} is a {geometry.get('type')!r}: {_ACCEPTED}")
        geometry = geometry["coordinates"]
    if not isinstance(geometry, Sequence | np.ndarray) or isinstance(geometry, str):
        raise CallError(f"polygon {number} is a {type(geometry).__name__}: {_ACCEPTED}")
    if len(geometry) and len(geometry[0]) and np.ndim(geometry[0][0][0]) > 0:  # one level more: a multipolygon
        return [ring for polygon in geometry for ring in polygon]
    return list(geometry)


def _binary(data: bytes, number: int) -> list[Any]:
    """Returns the rings of well-known binary, with or without further dimensions and the number of a reference
    system."""
    rings: list[Any] = []

    def read(at: int) -> int:
        order = "<" if data[at] else ">"
        (code,) = struct.unpack_from(f"{order}I", data, at + 1)
        at += 9 if code & 0x20000000 else 5
        dimensions = 2 + bool(code & 0x80000000) + bool(code & 0x40000000)
        geometry_type, further = (code & 0xFFFF) % 1000, (code & 0xFFFF) // 1000
        dimensions += (further > 0) + (further == 3)
        if geometry_type not in (_POLYGON, _MULTIPOLYGON):
            raise CallError(f"polygon {number} is well-known binary of type {geometry_type}: {_ACCEPTED}")
        (parts,) = struct.unpack_from(f"{order}I", data, at)
        at += 4
        for _ in range(parts):
            if geometry_type == _MULTIPOLYGON:
                at = read(at)
            else:
                (points,) = struct.unpack_from(f"{order}I", data, at)
                values = np.frombuffer(data, f"{order}f8", points * dimensions, at + 4)
                rings.append(values.reshape(points, dimensions))
                at += 4 + 8 * points * dimensions
        return at

    read(0)
    return rings


def _checked(ring: Ring, number: int) -> Ring:
    """Returns the ring without repeated points."""
    if not (np.abs(ring) < 1e100).all():
        raise CallError(f"polygon {number} has a coordinate that is not a finite number below 1e100")
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)]
    if len(ring) < 3:
        raise CallError(f"polygon {number} has a ring of fewer than three different points")
    return ring
