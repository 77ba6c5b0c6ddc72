"""The operations that rewritten bodies call: what each does for each type, on every compiled device.

An operation is defined by a function ``choose(checked, *types)``, which returns the implementation for Numba's types
of the operands, ``None`` if there is none, or the reason for that as a string. The decorator
:func:`~gpuspark.compiler.operations.registry.operation` registers it with Numba's CPU and CUDA compilers.

``checked`` is true for ``arithmetic=python``: where Python would raise, or its unbounded integers leave 64 bits, the
implementation marks the row, and Python computes that row again. Marking too many rows costs time; marking too few
gives wrong answers.

``registry`` holds the table of operations and the primitives; ``numbers`` Python's arithmetic and comparisons, ``bits``
its bit operators;
``numpy_scalars`` what NumPy scalars do differently; ``mixed`` arithmetic on numbers that are whole on some path only;
``mathematics`` the functions of ``math`` and NumPy, with ``elementary`` (``exp``, ``log``) and ``exact`` (``log2``,
``log10``, ``pow``, ``gamma``); ``datetimes`` dates, timestamps and their differences; ``values`` loads, stores, nulls,
truth and control flow.
"""
