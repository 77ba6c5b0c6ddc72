"""Great-circle distance on a sphere."""

from __future__ import annotations

import math

from gpuspark.kernels.spec import kernel

__all__ = ["haversine"]

EARTH_RADIUS_KM = 6371.0088
"""The mean radius of the Earth, (2a + b) / 3, by the International Union of Geodesy and Geophysics."""


@kernel(
    "double",
    parameters={
        "lat1": "latitude of the first point, degrees north",
        "lon1": "longitude of the first point, degrees east",
        "lat2": "latitude of the second point, degrees north",
        "lon2": "longitude of the second point, degrees east",
    },
    unit="kilometres",
    reference="R. W. Sinnott, Virtues of the Haversine, Sky and Telescope 68 (2), 1984, p. 159",
)
def haversine(lat1, lon1, lat2, lon2):
    """Returns the kilometres between two points, given in degrees, along a sphere of the Earth's mean radius.

    A null gives null, NaN gives NaN, and an infinite angle raises ``ValueError`` as ``math.sin`` does. Angles are not
    checked: 370 degrees is 10 degrees, and a latitude of 91 degrees is one of 89 degrees beyond the pole. The result is
    exact to a few units in the last place, except where the second point is near the antipode, or is given as a
    latitude beyond the pole near the first one: there the formula is ill-conditioned, and the last metres are lost.

    >>> round(haversine(52.52, 13.405, 48.8566, 2.3522))
    877
    """
    phi1, phi2 = math.radians(lat1), math.radians(lat2)
    across = math.sin((phi2 - phi1) / 2)
    along = math.sin(math.radians(lon2 - lon1) / 2)
    h = across * across + math.cos(phi1) * math.cos(phi2) * along * along
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(max(h, 0.0), 1.0)))  # in this order NaN stays
