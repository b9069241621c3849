"""What not every machine has: tests that need it skip, but never where CI counts on it."""

import os

import pytest


def need(there: object, missing: str) -> None:
    """Skip the test, or fail it where CI counts on it, unless something is there."""
    if not there:
        (pytest.fail if "CI" in os.environ else pytest.skip)(missing)
