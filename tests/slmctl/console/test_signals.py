"""Signals, in a real process: the first asks, the second leaves at once."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slmctl.commands.models import BATCH

CODE = """
import time
from slmctl.console.signals import StopFlag
stop = StopFlag().install()
print("ready", flush=True)
while not stop():
    time.sleep(0.01)
print("finishing", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_asks_and_the_second_leaves_at_once(number: signal.Signals) -> None:
    child = subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stderr is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(number)
    assert child.stdout.readline() == "finishing\n"
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=10)
    assert child.returncode == 130
    assert "Press Ctrl-C again to quit now" in said


def test_ctrl_c_is_one_line_where_nothing_is_left_to_finish(home: Path) -> None:
    command = [sys.executable, "-m", "slmctl", "score", "pocket:judge"]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    assert child.stdin is not None and child.stdout is not None
    for _ in range(BATCH):
        child.stdin.write('{"prompt": "Hi", "response": "Hello!"}\n')
    assert child.stdout.readline()
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert (child.returncode, said) == (130, "\ninterrupted\n")


def test_a_command_that_reads_from_a_terminal_says_so() -> None:
    control, terminal = pty.openpty()
    os.write(control, b"\x04")  # ctrl+d
    command = [sys.executable, "-m", "slmctl", "score", "pocket:judge"]
    done = subprocess.run(command, stdin=terminal, capture_output=True, text=True)
    os.close(terminal)
    os.close(control)
    assert done.returncode == 3
    assert done.stderr.splitlines()[0] == "score reads rows {prompt, response}, one per line; Ctrl-D ends the input"
