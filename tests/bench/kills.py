"""`python -m tests.bench.kills [N]`: kills N labelers (default 100), alone and in pairs, and counts lost labels."""

import sys
import tempfile
from pathlib import Path

from tests.support.label_databases import kill_labelers


def main() -> None:
    """Prints the numbers of acknowledged and of written labels. Raises: AssertionError if any is lost."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    for labelers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            said, there = kill_labelers(Path(folder), kills // 2, labelers, seed=labelers)
        print(
            f"{kills // 2} kills, {labelers} at once: {said} labels acknowledged, {there} there, none lost", flush=True
        )


if __name__ == "__main__":
    main()
