"""Settings of all tests: no time limits for properties, since the machine may be busy, and which tests are slow."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("slmctl", deadline=None)
settings.load_profile("slmctl")

SLOW = (
    "end_to_end",  # whole runs
    "engine/core/test_hub.py",  # processes that load models from a local hub
    "slmctl/guide/test_pages.py",  # the commands of the manual, on a run of their own
    "slmctl/tui",  # whole screens, driven by keys
    *(f"slmctl/worker/test_{name}.py" for name in ("child", "process")),
)
"""Test files and folders that take seconds per test; a single slow test elsewhere is marked where it is defined."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests in SLOW."""
    slow = [Path(__file__).parent / path for path in SLOW]
    for item in items:
        if any(item.path.is_relative_to(path) for path in slow):
            item.add_marker(pytest.mark.slow)
