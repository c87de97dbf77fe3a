"""Runs a module as a program in its own pseudo-terminal."""

import fcntl
import os
import pty
import struct
import sys
import termios


def in_terminal(columns: int, rows: int, module: str, *words: str) -> tuple[int, int]:
    """Runs `python -m MODULE WORDS` in a terminal of this size; returns its process and the terminal's descriptor."""
    pid, screen = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
        os.execv(sys.executable, [sys.executable, "-m", module, *words])
    return pid, screen
