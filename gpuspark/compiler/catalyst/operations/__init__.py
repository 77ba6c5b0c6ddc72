"""The operations of rewritten bodies as Spark expressions; importing this package registers them all."""

from __future__ import annotations

from gpuspark.compiler.catalyst.operations import comparisons, mathematics, numbers, quotients, results, text

__all__ = ["comparisons", "mathematics", "numbers", "quotients", "results", "text"]
