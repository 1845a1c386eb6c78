"""What every run of tests begins and ends with."""

from __future__ import annotations

import functools
import gc

from botocore.loaders import JSONFileLoader

from tests.services.shared import run

_read = JSONFileLoader.load_file


@functools.cache
def _read_once(path: str) -> object:
    return _read(JSONFileLoader(), path)


def pytest_configure() -> None:
    """A session of boto3 reads megabytes of JSON, most of what a test of S3 or SQS computes: here once a process."""
    JSONFileLoader.load_file = lambda _, path: _read_once(path)


def pytest_collection_finish() -> None:
    """What was imported and collected stays: the collector need not look at it again for every test."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    run().end()
