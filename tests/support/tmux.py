"""A driver for real terminals: one program in a tmux pane of its own server, fed with keys and read as text.

There are no fixed sleeps: `wait` polls until the expected text is on the screen, up to a generous deadline.
"""

import itertools
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PATIENCE_S = 90.0
LOOK_EVERY_S = 0.05
_NUMBERS = itertools.count()


def missing() -> str:
    """Why tmux cannot be used here, or ""."""
    return "" if shutil.which("tmux") else "tmux is not installed"


class Terminal:
    """A program in a terminal of `columns` by `rows`; `written` records every byte that it writes."""

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        folder: Path,
        columns: int = 80,
        rows: int = 24,
    ) -> None:
        self._server = f"slmctl-{os.getpid()}-{next(_NUMBERS)}"
        self._written = folder / f"{self._server}.bytes"
        self._environ = dict(environ)
        options = ("remain-on-exit on", "status off", "escape-time 0", "history-limit 0")
        config = folder / f"{self._server}.conf"
        config.write_text("".join(f"set -g {option}\n" for option in options))
        size = ("-x", str(columns), "-y", str(rows))
        self._begin = folder / f"{self._server}.begin"
        held = ("sh", "-c", 'while [ ! -e "$0" ]; do sleep 0.02; done; exec "$@"', str(self._begin), *command)
        self._tmux("-f", str(config), "new-session", "-d", *size, "-c", str(folder), "--", *held)
        self._tmux("pipe-pane", f"exec cat > '{self._written}'")
        self._begin.touch()  # from here on, nothing that the program writes is missed

    def press(self, *keys: str) -> None:
        """Presses keys by tmux's names: Enter, Escape, F3, C-p, x."""
        for key in keys:
            self._tmux("send-keys", "--", key)

    def type(self, text: str) -> None:
        """Types text as it is."""
        self._tmux("send-keys", "-l", "--", text)

    def screen(self) -> str:
        """The text on the screen, line by line."""
        return self._tmux("capture-pane", "-p")

    def styled(self) -> str:
        """The same with escape sequences of colors and styles."""
        return self._tmux("capture-pane", "-p", "-e")

    def written(self) -> bytes:
        """Every byte that the program has written to the terminal."""
        return self._written.read_bytes() if self._written.exists() else b""

    def title(self) -> str:
        """The pane's title, which a program can change by an escape sequence."""
        return self._shown("#{pane_title}")

    def pid(self) -> int:
        """The program's process."""
        return int(self._shown("#{pane_pid}"))

    def exit_code(self) -> int | None:
        """The exit code, None while the program runs."""
        return int(self._shown("#{pane_dead_status}") or 0) if self._shown("#{pane_dead}") == "1" else None

    def send(self, text: str) -> None:
        """Sends these characters to the program unchanged."""
        self._tmux("send-keys", "-H", *(f"{byte:x}" for byte in text.encode()))

    def resize(self, columns: int, rows: int) -> None:
        """Resizes the terminal."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def wait(self, *texts: str) -> str:
        """The screen, after waiting for all of these texts."""
        return self.until(lambda screen: all(text in screen for text in texts), " and ".join(map(repr, texts)))

    def until(self, holds: Callable[[str], bool], what: str) -> str:
        """The screen, after waiting for a condition."""
        until = time.monotonic() + PATIENCE_S
        while not holds(screen := self.screen()):
            assert time.monotonic() < until, f"waited for {what}; the screen is\n{screen}"
            time.sleep(LOOK_EVERY_S)
        return screen

    def ended(self) -> int:
        """The exit code, after waiting for the program to end."""
        self.until(lambda _: self.exit_code() is not None, "the end")
        code = self.exit_code()
        assert code is not None
        return code

    def close(self) -> None:
        """Kills the server and the program in its pane."""
        subprocess.run(["tmux", "-L", self._server, "kill-server"], capture_output=True, check=False)

    def _shown(self, form: str) -> str:
        return self._tmux("display-message", "-p", form).rstrip("\n")

    def _tmux(self, *words: str) -> str:
        command = ["tmux", "-L", self._server, *words]
        done = subprocess.run(command, env=self._environ, capture_output=True, text=True, errors="replace", check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout


def colors_in(written: bytes) -> set[int]:
    """The color codes in the bytes written to a terminal."""
    codes = {int(code) for codes in re.findall(rb"\x1b\[([\d;]*)m", written) for code in codes.split(b";") if code}
    assert codes, "nothing was styled"
    return codes & {code for first in (30, 40, 90, 100) for code in range(first, first + 9)}
