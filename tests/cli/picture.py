"""Draws the README's picture from a finished run: its own events and result, through the program's own bars and tables.

python -m tests.cli.picture runs/tiny
"""

import io
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from engine.rundir import RunDir
from slmctl.bars import Bars
from slmctl.results import print_run

PICTURE = Path(__file__).with_name("run.svg")
COLUMNS = 112


def main() -> None:
    """Writes run.svg beside this file."""
    run = RunDir(Path(sys.argv[1]))
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text("$ slmctl run --preset tiny", style="bold"))
    bars = Bars(Console(file=io.StringIO(), width=COLUMNS))
    for event in run.read_events():
        bars.show(event)
    bars.close()
    console.print(bars.frame())
    print_run(json.loads(run.result.read_text(encoding="utf-8")), plain=False, console=console)
    PICTURE.write_text(console.export_svg(title="slmctl"), encoding="utf-8")


if __name__ == "__main__":
    main()
