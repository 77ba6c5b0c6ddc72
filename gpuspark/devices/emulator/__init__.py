"""Executes PTX text, many threads at once, with NumPy: for tests, and for debugging without a GPU.

* :mod:`.tokens`, :mod:`.parser`, :mod:`.syntax`: PTX text as a syntax tree.
* :mod:`.instructions`: the table of what each instruction computes. Its builders are in :mod:`.float_operations`,
  :mod:`.integer_operations`, :mod:`.choice_operations` and :mod:`.move_operations`, the numerics in
  :mod:`.arithmetic` (correctly rounded fma and directed rounding), :mod:`.integers`, :mod:`.conversions` and
  :mod:`.approximations`.
* :mod:`.memory`, :mod:`.shared`, :mod:`.threads`: global memory, shared memory of the blocks, registers and local
  memory of the threads. Each detects accesses out of bounds and reads of bytes that nothing has written.
* :mod:`.races`: detects threads that access the same bytes without an order between them.
* :mod:`.program`: translates instructions into executable steps, with :mod:`.operands` and :mod:`.access`. The
  instructions by which threads cooperate are in :mod:`.collective_operations`; they are executed by :mod:`.barriers`
  (which also detects missing threads), :mod:`.warps` (shuffles, votes, matches, reductions) and :mod:`.atomics`.
* :mod:`.interpreter`: executes the steps, and decides which threads run next.

It does not model weak memory ordering, more than one interleaving, streams, or speed. It rejects what it does not
know: barriers with a thread count, clusters, asynchronous copies, tensor cores, textures, half precision beyond
conversions. Where it is stricter than a GPU: see :mod:`.barriers` and :mod:`.races`.
"""
