"""Checks everything with one command, the same here and in CI: format, lint, types, import contracts, tests."""

import os
import subprocess
import sys

STEPS = (
    ("format", ("ruff", "format", "--check", ".")),
    ("lint", ("ruff", "check", ".")),
    ("types", ("mypy",)),
    ("contracts", ("importlinter.cli", "lint_imports_command")),
    ("tests", ("pytest", "-q", "-n", "2")),
)


def command_of(words: tuple[str, ...]) -> list[str]:
    """The command line of a step, run by this same Python."""
    if words[0] == "importlinter.cli":
        return [sys.executable, "-c", f"from importlinter.cli import {words[1]}; {words[1]}()"]
    return [sys.executable, "-m", *words]


def main() -> int:
    """Runs every step, also after one that failed, and returns 1 if any did."""
    failed = []
    for name, words in STEPS:
        print(f"== {name}", flush=True)
        environ = {**os.environ, "OMP_NUM_THREADS": "1"} if name == "tests" else dict(os.environ)
        if subprocess.run(command_of(words), env=environ, check=False).returncode:
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
