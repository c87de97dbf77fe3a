"""The child as a process: its input and output, and that it ends with its parent, whatever it is doing."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from engine.model.checkpoint import save_model
from slmctl.worker.protocol import (
    Done,
    Failed,
    LoadRequest,
    SampleRequest,
    TextChunk,
    WorkerReply,
    WorkerRequest,
    from_line,
    to_line,
)
from tests.support.tiny import ARCHITECTURE, language_model, word_tokenizer

PATIENCE_S = 60.0
NOISE = """
import os, sys, threading, time

def talk():
    while "slmctl.worker.server" not in sys.modules:
        time.sleep(0.001)
    while True:
        print("noise of a library", flush=True)
        os.write(1, b"more of it, without an end")
        os.system("echo noise of a child; cat")

threading.Thread(target=talk, daemon=True).start()
"""
PARENT = """
import asyncio, sys
from pathlib import Path
from slmctl.worker.client import ChildSampler
from slmctl.worker.protocol import SampleRequest

async def main():
    sampler = ChildSampler(Path("."), {"threads": 1})
    if sys.argv[2] == "loading":
        asyncio.get_running_loop().call_later(0.05, lambda: print(sampler._child.pid, flush=True))
    await sampler.load(sys.argv[1])
    sampling = {"max_new_tokens": 10**5, "temperature": 0.0}
    wanted = SampleRequest(sys.argv[1], ["red"] * 32, sampling)
    await sampler.sample(wanted, lambda row, text: print(sampler._child.pid, flush=True)).responses()

asyncio.run(main())
"""


def ended(pid: int) -> bool:
    """Whether a process has ended, also as a zombie."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return not state.strip() or state.startswith("Z")


def test_prints_and_invalid_lines_are_ignored(models: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NOISE)
    requests: list[WorkerRequest] = [
        LoadRequest("a", str(models / "a"), id=1),
        SampleRequest("a", ["red blue"] * 8, {"max_new_tokens": 20}, stream=True, id=2),
    ]
    with (
        (tmp_path / "stderr").open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "slmctl.worker", "--threads=1"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
        ) as child,
    ):
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(b"\xff\x00 no message\n\n[]\n" + "".join(to_line(request) for request in requests).encode())
        child.stdin.flush()
        replies: list[WorkerReply | WorkerRequest] = []
        while not any(isinstance(reply, Done) and reply.id == 2 for reply in replies):
            replies.append(from_line(child.stdout.readline().decode()))
        child.stdin.close()
        assert child.stdout.read() == b""
    assert child.returncode == 0
    assert [reply.id for reply in replies[:4]] == [0, 0, 0, 1] and all(isinstance(r, Failed) for r in replies[:3])
    assert all(isinstance(reply, TextChunk) for reply in replies[4:-1])
    assert b"noise of a child" in (tmp_path / "stderr").read_bytes()


@pytest.mark.parametrize("moment", ["loading", "drawing"])
def test_the_child_ends_with_its_parent(tmp_path: Path, moment: str) -> None:
    """Long before it has generated thirty-two rows of two thousand tokens."""
    model = language_model(replace(ARCHITECTURE, context=2000))
    model.model.embed_tokens.weight.data[1] = 0  # EOS is never the likeliest
    save_model(tmp_path / "model", model, word_tokenizer(), {})
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "model"), moment], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not ended(child)
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while not ended(child):
        assert time.monotonic() < deadline, f"process {child} lives on"
        time.sleep(0.01)
