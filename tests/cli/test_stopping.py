"""Signals, in a real process: the first asks, the second leaves at once."""

import signal
import subprocess
import sys

import pytest

CODE = """
import time
from slmctl.stopping import StopFlag
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
    assert "once more to leave at once" in said
