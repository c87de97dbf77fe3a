"""Opening the playground: whether there is a terminal to draw on, and what becomes of an error inside.

The commands that open a mode (`slmctl`, `watch`, `chat`, `label`) end here. Textual is loaded here and not before.
"""

import gc
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from engine.rundir.directory import check_home
from slmctl.console.signals import broken_pipes_raise

if TYPE_CHECKING:
    from slmctl.tui.start import Start

STREAMS = ("stdin", "stdout", "stderr")
DUMB = (None, "", "dumb")


def can_draw(environ: Mapping[str, str]) -> bool:
    """Whether the playground can be shown here.

    It reads keys from stdin, asks stdout for the size and draws on stderr, so each must be a terminal; and one that is
    dumb, or does not say what it is, obeys no escape sequence.
    """
    streams = [getattr(sys, name) for name in STREAMS]
    return environ.get("TERM") not in DUMB and all(stream is not None and stream.isatty() for stream in streams)


def open_playground(start: "Start") -> None:
    """Shows the playground until the person leaves it.

    Raises: FileError where there cannot be runs; whatever went wrong inside, once the terminal is as it was.
    """
    check_home(start.home)
    from dataclasses import replace

    from slmctl.tui.app import Playground
    from slmctl.tui.pasting import guard_pastes
    from slmctl.tui.preferences import choices_file

    narrow = "utf" not in (sys.stderr.encoding or "").lower()  # such a terminal knows no braille and no blocks
    app = Playground(replace(start, ascii=start.ascii or narrow), choices=choices_file(os.environ))
    guard_pastes()
    gc.freeze()  # what is imported stays: searching it for garbage costs 40 ms whenever a long run is read
    with broken_pipes_raise():  # a sampler child that has died must not take the screen with it
        app.run()
    if app.fault is not None:
        raise app.fault
