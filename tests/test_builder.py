"""The cache of the UDFs that were built."""

from __future__ import annotations

from gpuspark.spark.builder import UdfCache


def test_a_udf_is_built_once_for_each_key() -> None:
    cache = UdfCache()
    first = cache.get(("a",), object)
    assert cache.get(("a",), object) is first
    assert cache.get(("b",), object) is not first
    assert cache.get(None, object) is not cache.get(None, object)
