"""The exit code of each error."""

import pytest

from engine.core import errors


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.EngineError, 1),
        (errors.ConfigError, 2),
        (errors.RunConflictError, 2),
        (errors.FileError, 3),
        (errors.DataError, 3),
        (errors.CheckpointError, 3),
        (errors.DivergedError, 4),
    ],
)
def test_exit_codes(kind: type[errors.EngineError], code: int) -> None:
    error = kind("what was wrong")
    assert (error.exit_code, str(error)) == (code, "what was wrong")
    assert isinstance(error, errors.EngineError)
