"""Executes PTX text, many threads at once, with NumPy. For proof and for debugging without a GPU.

* :mod:`.tokens`, :mod:`.parser`, :mod:`.syntax`: PTX text as data.
* :mod:`.instructions`: the table of what each instruction computes. Its rows come from
  :mod:`.float_operations`, :mod:`.integer_operations`, :mod:`.choice_operations` and
  :mod:`.move_operations`; the numerics are in :mod:`.arithmetic` (exact fma and directed rounding),
  :mod:`.integers`, :mod:`.conversions` and :mod:`.approximations`.
* :mod:`.memory`, :mod:`.shared`, :mod:`.lanes`: global memory, the shared memory of blocks, registers and
  private memory. Each finds accesses out of bounds and reads of bytes that nothing has written.
* :mod:`.races`: finds lanes that touch the same bytes without an order between them.
* :mod:`.program`: instructions made into steps, with :mod:`.operands` and :mod:`.access`; those by which
  lanes work together in :mod:`.cooperation`, done by :mod:`.meetings` (barriers, and who is missing there),
  :mod:`.warps` (shuffles, votes, matches, reductions) and :mod:`.atomics`.
* :mod:`.interpreter`: runs them, and decides which lanes go next.

What it does not model: weak memory ordering, more than one interleaving, streams, the speed of anything. What
it does not know, it refuses: barriers with a count of threads, clusters, asynchronous copies, tensor cores,
textures, half precision beyond conversions. What it is stricter about than a GPU: see :mod:`.meetings` and
:mod:`.races`.
"""
