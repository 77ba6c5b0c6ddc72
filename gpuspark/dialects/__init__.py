"""What users decorate or call, each with its driver half and its worker half.

Imports ``execution`` and the folders before it.

- Scalar (``gs.udf``): ``scalar`` on the driver, ``scalar_worker`` and ``row_worker`` in a task, ``direct`` for calls
  on columns outside a Spark query.
- Series (``gs.pandas_udf``): ``series`` and ``series_worker``; ``hints`` reads type hints.
- Batch: ``map_in_arrow`` and ``segments`` (``gs.apply_in_segments``), both with ``batch_worker``; ``group_keys``
  prepares the keys of segments.
- Kernels as Spark column functions: ``column_kernel``, ``kernel_spec`` and ``kernel_worker``.
- For all: ``arguments`` matches arguments with parameters, ``taken`` copies a function with its captured values.
"""
