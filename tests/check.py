"""Checks everything with one command, the same here and in CI: format, lint, types, import contracts, tests.

`python -m tests.check --fast` skips the tests marked slow.
"""

import os
import subprocess
import sys

LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"
STEPS = {
    "format": ["-m", "ruff", "format", "--check", "."],
    "lint": ["-m", "ruff", "check", "."],
    "types": ["-m", "mypy"],
    "contracts": ["-c", LINT_IMPORTS],
    "tests": ["-m", "pytest", "-q", "-n", "2"],
}
NOT_SLOW = ["-m", "not slow"]


def command_of(step: str) -> list[str]:
    """The command line of a step, run by this same Python."""
    return [sys.executable, *STEPS[step]]


def main(arguments: list[str]) -> int:
    """Runs every step, also after one that failed, and returns 1 if any did."""
    failed = []
    for step in STEPS:
        print(f"== {step}", flush=True)
        fast = NOT_SLOW if step == "tests" and "--fast" in arguments else []
        environ = {**os.environ, "OMP_NUM_THREADS": "1"} if step == "tests" else dict(os.environ)
        if subprocess.run([*command_of(step), *fast], env=environ, check=False).returncode:
            failed.append(step)
    print(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
