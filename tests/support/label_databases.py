"""Labels for tests, and a labeler process that acknowledges each label on stdout and may be killed."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.data.labels.store import Candidate, Label, LabelStore, read_labels
from engine.data.records import Message

LONGEST_LIFE_S = 0.3  # of a labeler, from its first label on: some tens of labels
LONGEST_START_S = 0.3  # of a labeler that is killed while it opens the file
KILLS_A_FILE = 10
LONGEST_RESPONSE = 9000  # characters: more than a page of the file


def judged(first: str = "a", second: str = "b", ranks: tuple[int, ...] | None = (0, 1), **fields: Any) -> Label:
    """A label of two responses; by default the first is better."""
    verdict = "choice" if ranks in ((0, 1), (1, 0)) else "tie" if ranks else "skip"
    given = {"annotator": "ann", "prompt": "Hi", "verdict": verdict, **fields}
    return Label(candidates=(Candidate(first), Candidate(second)), ranks=ranks, **given)


def stored(path: Path, *labels: Label) -> list[int]:
    """The ids of these labels after they are written."""
    with LabelStore(path) as store:
        return [store.add(label) for label in labels]


def numbered(annotator: str, number: int) -> Label:
    """The `number`-th label of a labeler, with texts whose lengths depend on the number."""
    size = random.Random(f"{annotator} {number}").randrange(LONGEST_RESPONSE)
    prompt = (Message("user", f"{number}"), Message("assistant", "x" * (size % 700)))
    return replace(judged("a" * size, f"{number}"), annotator=annotator, prompt=prompt, note="n" * (size % 50))


def label_on(path: Path, annotator: str) -> None:
    """Makes labels forever; prints the number and the id of each one after it is written."""
    with LabelStore(path) as store:
        start = len(store.standing(annotator))
        for number in range(start, start + 10**9):
            print(json.dumps([number, store.add(numbered(annotator, number))]), flush=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Locks a label database as a backup or sync tool would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


def labeler(path: Path, annotator: str) -> subprocess.Popen[str]:
    """A process that labels forever."""
    command = [sys.executable, "-m", "tests.support.label_databases", str(path), annotator]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def acknowledged_until_killed(child: subprocess.Popen[str], life_s: float, from_first: bool) -> list[list[int]]:
    """The labels that a labeler has acknowledged when it is killed `life_s` after its first label or its start; ignores
    an incomplete last line."""
    assert child.stdout is not None
    first = child.stdout.readline() if from_first else ""
    with suppress(subprocess.TimeoutExpired):
        child.wait(life_s)
    child.kill()
    rest = child.stdout.read()
    assert child.wait() == -signal.SIGKILL, "a labeler ended by itself"
    child.stdout.close()
    return [json.loads(line) for line in (first + rest).splitlines(keepends=True) if line.endswith("\n")]


def check(path: Path, said: list[tuple[str, list[list[int]]]]) -> Counter[str]:
    """The number of labels of each labeler in the file, after checking that all acknowledged ones are there once.

    Raises: AssertionError if one is lost, damaged or duplicated.
    """
    found = {one.id: one for one in read_labels(path)}
    for annotator, lines in said:
        for number, place in lines:
            assert place in found, f"label {number} of {annotator} was acknowledged as {place} and is gone"
            assert replace(found[place], id=0, at=0.0) == replace(numbered(annotator, number), shown=(0, 1))
    assert len({place for _, lines in said for _, place in lines}) == sum(len(lines) for _, lines in said)
    own: dict[str, list[int]] = {}
    for one in found.values():
        assert not isinstance(one.prompt, str)
        own.setdefault(one.annotator, []).append(int(one.prompt[0].content))
    assert all(numbers == list(range(len(numbers))) for numbers in own.values()), "a label is there twice or missing"
    return Counter({annotator: len(numbers) for annotator, numbers in own.items()})


def kill_labelers(folder: Path, kills: int, labelers: int, seed: int) -> tuple[int, int]:
    """Kills this many labelers at random moments, with `labelers` at once on one file; counts acknowledged and written
    labels.

    Raises: AssertionError if one is lost, damaged or duplicated.
    """
    rng = random.Random(seed)
    acknowledged, there = 0, 0
    for file in range(0, kills, KILLS_A_FILE):
        path = folder / f"{seed}-{file}.db"
        said: list[tuple[str, list[list[int]]]] = []
        for _ in range(file, min(kills, file + KILLS_A_FILE), labelers):
            children = [(f"labeler {place}", labeler(path, f"labeler {place}")) for place in range(labelers)]
            for annotator, child in children:
                from_first = rng.random() < 0.7
                life_s = rng.uniform(0, LONGEST_LIFE_S if from_first else LONGEST_START_S)
                said.append((annotator, acknowledged_until_killed(child, life_s, from_first)))
        acknowledged += sum(len(lines) for _, lines in said)
        there += check(path, said).total() if any(lines for _, lines in said) else 0
    return acknowledged, there


if __name__ == "__main__":
    label_on(Path(sys.argv[1]), sys.argv[2])
