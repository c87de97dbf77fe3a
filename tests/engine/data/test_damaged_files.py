"""Randomly damaged data files, presets and run.toml: read, or refused with one sentence."""

import gzip
import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from engine.core.errors import ConfigError, EngineError, FileError
from engine.core.settings import all_settings, load_preset, nest, resolve
from engine.data.readers import read_demonstrations, read_prompts, read_rankings
from engine.rundir.directory import RunDir
from engine.rundir.runtoml import RunRecord, read_run_toml, to_toml, write_run_toml

ROWS = [
    {"prompt": "Hi", "completion": "Yö", "chosen": "a", "rejected": "b"},
    {"prompt": "Bye", "completion": "Yo", "chosen": "c", "rejected": "d"},
]
SHORTEST_SENTENCE = 20


def good_files() -> dict[str, bytes]:
    """The same rows in a file of each type."""
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
    table = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), table)
    cells = "prompt,completion,chosen,rejected\n" + "".join(",".join(row.values()) + "\n" for row in ROWS)
    return {
        "d.jsonl": lines,
        "d.json": json.dumps(ROWS).encode(),
        "d.csv": cells.encode(),
        "d.parquet": table.getvalue().to_pybytes(),
        "d.jsonl.gz": gzip.compress(lines, mtime=0),
    }


GOOD = good_files()
DAMAGE = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=4), st.integers(0, 40)), max_size=3)


def damaged(content: bytes, changes: list[tuple[float, bytes, int]]) -> bytes:
    """The content with bytes inserted and removed at each change."""
    for place, put, taken in changes:
        at = int(place * len(content))
        content = content[:at] + put + content[at + taken :]
    return content


def read_or_refused(read: Callable[[], object], allowed: type[EngineError]) -> None:
    """Checks that reading succeeds or raises an error of this type with a message."""
    try:
        read()
    except allowed as error:
        assert len(str(error)) >= SHORTEST_SENTENCE and "\n" not in str(error)


@given(st.sampled_from(sorted(GOOD)), DAMAGE)
@settings(max_examples=200)
def test_a_damaged_data_file(name: str, changes: list[tuple[float, bytes, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(damaged(GOOD[name], changes))
        readers: list[Callable[[Path], object]] = [read_demonstrations, read_rankings, read_prompts]
        for read in readers:
            read_or_refused(partial(read, path), FileError)


VALUES = st.one_of(
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text("ab", min_size=1, max_size=2), st.integers(), max_size=2),
)


@given(st.dictionaries(st.sampled_from([*all_settings(), "sft.nothing", "x"]), VALUES, max_size=5))
@settings(max_examples=200)
def test_a_preset_of_any_values(values: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.toml"
        path.write_text(to_toml(nest(values)), encoding="utf-8")
        read_or_refused(lambda: resolve(load_preset(str(path))), ConfigError)


@given(st.binary(max_size=40))
@example(b"\xff")
@example(b"[ppo\n")
def test_a_preset_of_any_bytes(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.toml"
        path.write_bytes(content)
        read_or_refused(lambda: resolve(load_preset(str(path))), EngineError)


@given(DAMAGE)
@settings(max_examples=100)
def test_a_damaged_run_toml(changes: list[tuple[float, bytes, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir(Path(folder) / "run")
        resolved = resolve(None)
        write_run_toml(run, RunRecord("tiny", resolved.config, resolved.origins))
        run.run_toml.write_bytes(damaged(run.run_toml.read_bytes(), changes))
        read_or_refused(lambda: read_run_toml(run), EngineError)
