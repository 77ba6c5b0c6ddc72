"""Runs one function over one batch: chooses the device, runs the program there, recovers and checks.

Imports ``compiler``, ``columns``, ``devices``, ``accounting``, ``spark`` and the modules before them; knows no dialect.

- ``plan``: decides on a device and gives every reason, from facts alone. ``placement``: gathers the facts, opens the
  device, warns, budgets its memory and re-plans after a failure.
- ``scalar``, ``runner`` and ``rowwise``: a scalar function, its run in a task, and the row-wise program.
- ``arrays``, ``array_arguments`` and ``array_runner``: ``gs.array_function``, its arguments, and its run in a task.
- ``frame_body``: bodies over whole batches and Series. ``user_types``: Spark's user-defined types.
- ``inside``: the gpuspark functions that a body calls.
- ``verify``: compares a share of the batches with plain Python. ``findings`` and ``capsule``: what is recorded and
  saved of a batch that failed.
"""
