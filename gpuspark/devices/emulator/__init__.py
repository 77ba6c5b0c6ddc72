"""Executes PTX text, many threads at once, with NumPy. For proof and for debugging without a GPU.

* :mod:`.syntax`, :mod:`.parser`: PTX text as data.
* :mod:`.instructions`: what each instruction computes, with :mod:`.arithmetic` (exact fma and directed
  rounding), :mod:`.integers`, :mod:`.conversions` and :mod:`.approximations`.
* :mod:`.memory`, :mod:`.lanes`: global memory; registers and private memory.
* :mod:`.program`: instructions made into steps.
* :mod:`.interpreter`: runs them, and decides which lanes go next.

What it does not model: weak memory ordering, the speed of anything, streams.
"""
