"""The kernel catalogue as Spark column functions: ``functions.haversine("lat1", "lon1", "lat2", "lon2")``.

The same objects as :mod:`gpuspark.kernels`; column names or Spark columns make a Spark column of them.
"""

from __future__ import annotations

from gpuspark.kernels import haversine

__all__ = ["haversine"]
