"""Executes PTX text, many threads at once, with NumPy. For proof and for debugging without a GPU.

* :mod:`.tokens`, :mod:`.parser`, :mod:`.syntax`: PTX text as data.
* :mod:`.instructions`: the table of what each instruction computes. Its rows come from
  :mod:`.float_operations`, :mod:`.integer_operations`, :mod:`.choice_operations` and
  :mod:`.move_operations`; the numerics are in :mod:`.arithmetic` (exact fma and directed rounding),
  :mod:`.integers`, :mod:`.conversions` and :mod:`.approximations`.
* :mod:`.memory`, :mod:`.lanes`: global memory; registers and private memory.
* :mod:`.program`: instructions made into steps, with :mod:`.operands` and :mod:`.access`.
* :mod:`.interpreter`: runs them, and decides which lanes go next.

What it does not model: weak memory ordering, streams, the speed of anything.
"""
