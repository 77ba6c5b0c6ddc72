"""Scans: Spark's tasks read files themselves, compute, and hand over results; no input row enters the JVM.

On the driver, ``scan`` is what users build. ``parquet_table`` asks Spark for schema and files (``partitions`` reads the
names of folders), ``delta_table`` the log of a Delta table; both make a ``table``. ``footers`` reads the footers of
files, in a small job, and ``stored_types`` says what can be read exactly. ``plan`` leaves out what ``filters`` do not
want, as far as ``pruning`` proves it, and packs the rest into ``splits``. ``asked`` learns what a function of a batch
needs.

In the tasks, ``worker`` gets the numbers of splits, ``reader`` reads and filters them, and the ``steps`` run over the
batches, ``aggregates`` last.
"""
