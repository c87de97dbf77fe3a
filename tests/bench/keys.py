"""How fast the playground answers a key, idle and while a run trains on all cores.

    python -m tests.bench.keys RUN [--keys 200]

Types letters into a chat with the SFT policy of RUN in a real pseudo-terminal, and times each key until its handler is
called and until the letter is painted. Then measures the same beside PPO training, started as the playground does it;
both in one call, so that their ratio is meaningful.
"""

import argparse
import os
import re
import select
import shutil
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from textual import events

from engine.core.events import StepCompleted
from engine.rundir.directory import RunDir
from slmctl.runs.launch import launch
from slmctl.tui.app import Playground
from slmctl.tui.playground import Start
from tests.bench.terminal import in_terminal

ROWS, COLUMNS = 45, 140
LETTERS = "abcdefghijklmnopqrstuvwxyz"
OPENING_S = 8.0
BACKSPACE = b"\x7f"
PAUSE_S = 0.06
TOO_LONG_S = 5.0
SEQUENCE = re.compile("\x1b\\[[0-9;:?=<>]*[ '$]?[A-Za-z]")  # colors and cursor moves, which contain letters, too


class Timed(Playground):
    """A playground that writes to a pipe when each key arrives."""

    notes = -1

    async def on_event(self, event: events.Event) -> None:
        """Writes the time, then handles the key."""
        if isinstance(event, events.Key):
            os.write(self.notes, struct.pack("d", time.monotonic()))
        await super().on_event(event)


class Terminal:
    """The playground in its own pseudo-terminal, with the pipe for its key times."""

    def __init__(self, home: Path, model: str) -> None:
        self.notes, theirs = os.pipe()
        os.set_inheritable(theirs, True)
        words = ("tests.bench.keys", "--child", str(theirs), str(home), model)
        self.pid, self.screen = in_terminal(COLUMNS, ROWS, *words)
        os.close(theirs)

    def settle(self) -> None:
        """Reads until models are open; a blinking cursor never stops the output."""
        until = time.monotonic() + OPENING_S
        while time.monotonic() < until:
            self._read(until - time.monotonic())

    def press(self, letter: str) -> tuple[float, float]:
        """Seconds from a key to its handler, and to the letter on the screen."""
        while self._read(0):
            pass
        sent = time.monotonic()
        os.write(self.screen, letter.encode())
        handled = self._handled_since(sent)
        while letter not in SEQUENCE.sub("", self._read(TOO_LONG_S).decode(errors="replace")):
            assert time.monotonic() - sent < TOO_LONG_S, f"{letter!r} never came"
        painted = time.monotonic()
        os.write(self.screen, BACKSPACE)  # the letter must not stand there when it is typed again
        time.sleep(PAUSE_S)
        return handled - sent, painted - sent

    def _handled_since(self, sent: float) -> float:
        """The time when the handler received the key that was sent; skips times of the backspace before it."""
        while True:
            assert select.select([self.notes], [], [], TOO_LONG_S)[0], "the key never reached its handler"
            noted = [at for (at,) in struct.iter_unpack("d", os.read(self.notes, 2**12)) if at >= sent]
            if noted:
                return float(min(noted))

    def close(self) -> None:
        """Ends the playground."""
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)

    def _read(self, wait_s: float) -> bytes:
        ready, _, _ = select.select([self.screen], [], [], wait_s)
        return os.read(self.screen, 2**16) if ready else b""


def measured(terminal: Terminal, keys: int) -> tuple[list[float], list[float]]:
    """Times to the handler and to the screen of this many keys, in ms."""
    handled, painted = [], []
    for number in range(keys):
        to_handler, to_screen = terminal.press(LETTERS[number % len(LETTERS)])
        handled.append(1000 * to_handler)
        painted.append(1000 * to_screen)
    return handled, painted


def p95(values: Sequence[float]) -> float:
    """The 95th percentile."""
    return sorted(values)[int(0.95 * len(values))]


def line(name: str, values: Sequence[float]) -> str:
    """Median and 95th percentile, in ms."""
    return f"{name:<28} median {statistics.median(values):7.2f} ms   p95 {p95(values):7.2f} ms"


def main() -> None:
    """Measures idle, then beside training; prints both with their ratio."""
    if sys.argv[1:2] == ["--child"]:
        notes, home, model = int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
        Timed.notes = notes
        app = Timed(Start(home, "chat", models=(model,)))
        app.run()
        if app.fault is not None:
            raise app.fault
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--keys", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        shutil.copytree(options.run, home / "tiny")
        terminal = Terminal(home, "tiny:sft")
        terminal.settle()
        idle = measured(terminal, options.keys)
        run = RunDir(home / "busy")
        training = launch(("ppo", "--run", run.name, "--from", "tiny", "--set", "ppo.kl_coef=0.34"), run, os.environ)
        while not any(isinstance(event, StepCompleted) for event in run.read_events()):
            assert training.ended() is None, training.output()
            time.sleep(0.2)
        busy = measured(terminal, options.keys)
        assert training.ended() is None, "the training ended before it was measured beside"
        training.process.kill()
        training.process.wait()
        terminal.close()
    for name, (handled, painted) in (("idle", idle), ("beside a training", busy)):
        print(line(f"{name}: to handler", handled))
        print(line(f"{name}: to paint", painted))
    print(f"paint, busy / idle: median {statistics.median(busy[1]) / statistics.median(idle[1]):.2f}", end="  ")
    print(f"p95 {p95(busy[1]) / p95(idle[1]):.2f}")


if __name__ == "__main__":
    main()
