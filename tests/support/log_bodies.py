"""Functions that log and print, in a module of their own as in a job: tests look at what Spark's log says of them."""

from __future__ import annotations

import logging


def per_row(v):
    logging.getLogger("mine").warning("a row")
    return v


def per_batch(batches):
    for batch in batches:
        logging.getLogger("mine").warning("a batch")
        yield batch


def per_groups(segments):
    print("groups")
    return segments.keys


def compute(v):
    logging.getLogger("mine").warning("a column")
    return v


class Rule:
    """A callable object: Spark's log names its class too."""

    def __call__(self, v):
        return self.inner(v)

    def inner(self, v):
        logging.getLogger("mine").warning("a row")
        return v
