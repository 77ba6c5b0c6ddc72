"""A column in each of its forms: Spark type, Arrow array, Python values, NumPy arrays, pandas and cuDF Series.

Imports ``devices``, ``accounting``, ``spark`` and the modules before them.

- ``ddl``: parses Spark's type strings without Spark. ``types``: the column types of the scalar dialect.
- ``values``: Arrow to the Python values that a body gets, and back.
- ``layout``: Arrow columns as the NumPy arrays (offsets, bytes, values) that array functions take.
- ``batch``: ``Batch`` and ``Column``, the columns of a batch body.
- ``conversion``: the arguments of a function that is called directly, as Arrow columns.
- ``pandas_form`` and ``cudf_form``: the Series of a series body, on the CPU and on a GPU.
- ``local_time``: whether the local time of this process is always UTC.
"""
