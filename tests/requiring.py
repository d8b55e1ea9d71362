"""What a test needs besides Python: skipped without it, visibly, and failed where QUANTLIB_REQUIRE names its kind."""

import os

import pytest

REQUIRED = set(filter(None, os.environ.get("QUANTLIB_REQUIRE", "").split(",")))


def lacking(kind: str, what: str) -> None:
    """Skip the test, visibly; or fail it where this kind is required."""
    if kind in REQUIRED:
        pytest.fail(f"{what} is required here and was not found")
    pytest.skip(f"{what} is not installed")
