"""Models of the hub, from a local server: downloaded once, then read from the cache."""

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from engine.core.hub import REACH_S
from engine.model.checkpoint import save_model
from tests.support.tiny import language_model, word_tokenizer

COMMIT = "a" * 40
CODE = "pytorch_model.bin"
MODEL = "hf:nobody/words"
REVISIONS = "/api/models/nobody/words/revision/"
REFUSALS = {
    "/gated": (403, "GatedRepo"),
    "/words": (404, "RevisionNotFound"),
    "": (404, "RepoNotFound"),
}  # by a part of the path


class Hub(BaseHTTPRequestHandler):
    """Serves the files of a folder as the model nobody/words, and records in `asked` which files it served."""

    def __init__(self, folder: Path, asked: list[str], *given: Any) -> None:
        self.folder, self.asked = folder, asked
        super().__init__(*given)

    def do_GET(self) -> None:
        """The list of files, or one of them."""
        path = self.path.partition("?")[0]
        if path in ("/api/models/nobody/words", *(f"{REVISIONS}{name}" for name in ("main", COMMIT))):
            names = [{"rfilename": file.name} for file in self.folder.iterdir()]
            self._answer(json.dumps({"id": "nobody/words", "sha": COMMIT, "siblings": names}).encode())
        elif path == f"/api/models/nobody/words/tree/{COMMIT}":
            files = list(self.folder.iterdir())
            tree = [{"type": "file", "path": x.name, "size": x.stat().st_size, "oid": COMMIT} for x in files]
            self._answer(json.dumps(tree).encode())
        elif (file := self.folder / path.rpartition("/")[2]).is_file() and f"/resolve/{COMMIT}/" in path:
            self.asked += [file.name] if self.command == "GET" else []
            self._answer(file.read_bytes())
        else:
            code, word = next(refusal for part, refusal in REFUSALS.items() if part in path)
            self.send_response(code)
            self.send_header("X-Error-Code", word)
            self.end_headers()

    do_HEAD = do_GET

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


@pytest.fixture
def asked() -> list[str]:
    """The files that the hub served."""
    return []


@pytest.fixture
def hub(tmp_path: Path, asked: list[str]) -> Iterator[ThreadingHTTPServer]:
    """A hub with one model, whose folder also contains a pickle and code."""
    folder = tmp_path / "hub"
    save_model(folder, language_model(), word_tokenizer(), {"stage": "sft"})
    for name in (CODE, "modeling_words.py"):
        (folder / name).write_bytes(b"\x80\x04.")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, folder, asked))
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def python(hub: ThreadingHTTPServer, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The outcome of a Python process with one prompt on its stdin that uses this hub, and a cache under `home`."""
    own = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_address[1]}", "HF_HOME": str(home / "cache")}
    kept = {name: value for name, value in os.environ.items() if not re.search("^HF_|_proxy$", name, re.IGNORECASE)}
    environ = {**kept, **own, "SLMCTL_RUNS": str(home / "runs"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words],
        env=environ,
        input='{"prompt": "red"}\n',
        capture_output=True,
        text=True,
        check=False,
    )


def sampled(hub: ThreadingHTTPServer, home: Path, model: str = MODEL) -> subprocess.CompletedProcess[str]:
    """The outcome of `slmctl sample`."""
    return python(hub, home, "-m", "slmctl", "sample", model, "--max-new-tokens", "3", "--jsonl")


def test_a_hub_model_is_fetched_once_without_code_or_pickle(
    hub: ThreadingHTTPServer, asked: list[str], tmp_path: Path
) -> None:
    first = sampled(hub, tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    assert json.loads(first.stdout)["prompt"] == "red"
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= set(asked)
    assert not {CODE, "modeling_words.py"} & set(asked)
    given = list(asked)
    again = sampled(hub, tmp_path)
    assert again.stdout == first.stdout and asked == given
    hub.shutdown()
    hub.server_close()
    unreached = sampled(hub, tmp_path)
    assert unreached.stdout == first.stdout, unreached.stderr


@pytest.mark.parametrize(
    ("model", "code", "words"),
    [
        ("hf:nobody/else", 3, "error: the hub has no model nobody/else, or it is private"),
        ("hf:nobody/gated", 3, "error: the hub model nobody/gated is gated: accept its terms at https://"),
        ("hf:nobody/words@old", 3, "error: the hub model nobody/words has no revision 'old'"),
        ("hf:words", 2, "error: 'hf:words' is not a hub model; write hf:ORG/NAME or hf:ORG/NAME@REVISION"),
    ],
)
def test_a_missing_model_is_one_sentence(
    model: str, code: int, words: str, hub: ThreadingHTTPServer, tmp_path: Path
) -> None:
    outcome = sampled(hub, tmp_path, model)
    assert (outcome.returncode, outcome.stdout, outcome.stderr.count("\n")) == (code, "", 1)
    assert outcome.stderr.startswith(words)


def test_a_run_records_the_commit_that_it_began_with(hub: ThreadingHTTPServer, tmp_path: Path) -> None:
    code = "from engine.run.inputs import *; print(InputReader(Path('.')).read('sft', 'init', sys.argv[1]).reference)"
    for name in (MODEL, f"{MODEL}@main", f"{MODEL}@{COMMIT}"):
        assert python(hub, tmp_path, "-c", f"import sys; {code}", name).stdout == f"{MODEL}@{COMMIT}\n"


def test_a_hub_that_is_reachable_again_is_asked_again(hub: ThreadingHTTPServer, tmp_path: Path) -> None:
    code = """
import socket, sys
from engine.core.errors import CheckpointError
from engine.core.hub import hub_directory

connect = socket.create_connection
socket.create_connection = lambda *given, **named: (_ for _ in ()).throw(OSError())
try:
    hub_directory(sys.argv[1])
except CheckpointError as error:
    print(error)
socket.create_connection = connect
print(hub_directory(sys.argv[1]).name)
"""
    first, second = python(hub, tmp_path, "-c", code, MODEL).stdout.splitlines()
    assert (first, second) == (f"cannot reach the Hugging Face hub, and {MODEL} was not downloaded before", COMMIT)


def test_an_unreachable_hub_is_one_sentence(hub: ThreadingHTTPServer, tmp_path: Path) -> None:
    hub.shutdown()
    hub.server_close()
    outcome = sampled(hub, tmp_path)
    assert (outcome.returncode, outcome.stderr.count("\n")) == (3, 1)
    assert outcome.stderr.startswith(f"error: cannot reach the Hugging Face hub, and {MODEL} was not downloaded before")


def test_a_hub_that_never_answers_is_given_up_soon(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as silent:  # it listens and never answers
        began = time.monotonic()
        outcome = sampled(silent, tmp_path)
    assert outcome.stderr.startswith(f"error: cannot reach the Hugging Face hub, and {MODEL} was not downloaded before")
    assert time.monotonic() - began < 10 * REACH_S
