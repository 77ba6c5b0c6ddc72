"""What each operation of a rewritten body does for each type, on every compiled device.

An operation is a function ``choose(checked, *types) -> implementation``, registered with both of Numba's
compilers by :func:`~gpuspark.compiler.operations.registry.operation`. ``checked`` is true for
``arithmetic=python``: where Python would raise, or its unbounded integers leave 64 bits, the
implementation marks the row, and Python computes that row again. Marking too much costs time; marking
too little would be a wrong answer.
"""
