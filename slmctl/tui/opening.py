"""Opening the playground: whether there is a terminal to draw on, errors inside it.

`slmctl`, `watch`, `chat` and `label` end here. Textual is loaded here and not before.
"""

import gc
import os
import sys
from collections.abc import Mapping
from dataclasses import replace

from engine.rundir.directory import check_home
from slmctl.console.signals import broken_pipes_raise
from slmctl.tui.playground import Start

STREAMS = ("stdin", "stdout", "stderr")
DUMB = (None, "", "dumb")


def can_draw(environ: Mapping[str, str]) -> bool:
    """Whether the playground can be shown here.

    It reads keys from stdin, takes its size from stdout and draws on stderr, so each must be a terminal; a dumb or
    unknown terminal obeys no escape sequence.
    """
    streams = [getattr(sys, name) for name in STREAMS]
    return environ.get("TERM") not in DUMB and all(stream is not None and stream.isatty() for stream in streams)


def open_playground(start: Start) -> None:
    """Shows the playground until the person leaves it.

    Raises: FileError if there cannot be a folder of runs; any error inside, once the terminal is restored.
    """
    check_home(start.home)
    from slmctl.tui.app import Playground
    from slmctl.tui.pasting import guard_pastes
    from slmctl.tui.preferences import preferences_file

    narrow = "utf" not in (sys.stderr.encoding or "").lower()  # such a terminal has no braille and no blocks
    app = Playground(replace(start, ascii=start.ascii or narrow), preferences=preferences_file(os.environ))
    guard_pastes()
    gc.freeze()  # imported modules stay; collecting them costs 40 ms whenever a long run is read
    with broken_pipes_raise():  # a sampler child that has died must not end the playground
        app.run()
    if app.fault is not None:
        raise app.fault
