"""Lowers a scalar body to a Spark expression, which Spark's executors run without a Python worker.

The modules, in the order in which a body passes through them:

1. :mod:`gpuspark.compiler.spark_body` rewrites the function to named operations, as for compiled programs.
2. ``lowering`` runs the rewritten body once with values that are expressions (``trees``, ``values``). ``paths`` holds
   what is known on one path: names, conditions, bounds of numbers, and the errors that come first.
3. ``operations`` lowers each operation, or refuses it.
4. ``dispatch`` does this for each combination of column types that the body tells apart, and puts the results together.

An expression is exact, or it is refused: it gives the values, nulls, NaN and errors that Python gives, but for the last
units of a function of mathematics, with ``spark.sql.ansi.enabled`` on and off. Nothing here imports PySpark.
"""

from __future__ import annotations

from gpuspark.compiler.catalyst.dispatch import Expression, Variant, expression_of

__all__ = ["Expression", "Variant", "expression_of"]
