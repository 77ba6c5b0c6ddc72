"""Great-circle distance on a sphere."""

from __future__ import annotations

import math

from gpuspark.kernels.spec import Cost, kernel

EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the Earth, (2a + b) / 3, of the International Union of Geodesy and Geophysics."""


@kernel(
    "double",
    reference="R. W. Sinnott, Virtues of the Haversine, Sky and Telescope 68 (2), 1984, p. 159",
    cost=Cost(bytes_in=32, bytes_out=8, operations=20),
)
def haversine(lat1, lon1, lat2, lon2):
    """Kilometres along the sphere between two points given in degrees.

    Any null gives null, NaN gives NaN. Angles are not checked: 370 degrees is 10 degrees. Rounding keeps
    antipodal points, where the formula is ill-conditioned, at half the circumference.
    """
    phi1, phi2 = math.radians(lat1), math.radians(lat2)
    across = math.sin((phi2 - phi1) / 2)
    along = math.sin(math.radians(lon2 - lon1) / 2)
    h = across * across + math.cos(phi1) * math.cos(phi2) * along * along
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, h)))
