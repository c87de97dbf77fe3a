"""run.toml keeps everything a run was set up with, and says clearly when it cannot be read."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.errors import FileError
from engine.core.settings import resolve
from engine.rundir.directory import RunDir
from engine.rundir.runtoml import Input, RunRecord, hash_path, read_run_toml, to_toml, write_run_toml

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
SCALARS = st.one_of(st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False), TEXT)
VALUES = st.one_of(SCALARS, st.lists(st.integers(), max_size=3))
TABLES = st.dictionaries(
    TEXT, st.one_of(VALUES, st.dictionaries(TEXT, st.one_of(VALUES, st.dictionaries(TEXT, VALUES))))
)


def emptied(table: object) -> object:
    """The table without empty tables, which TOML text of ours leaves out."""
    if not isinstance(table, dict):
        return table
    inner = {name: emptied(value) for name, value in table.items()}
    return {name: value for name, value in inner.items() if value != {}}


@given(TABLES)
def test_any_table_round_trips_through_toml(table: dict[str, object]) -> None:
    assert emptied(tomllib.loads(to_toml(table))) == emptied(table)


def record() -> RunRecord:
    resolved = resolve(None, {"ppo.kl_coef": "0.1"}, {"seed": 3, "threads": 2})
    return RunRecord(
        "tiny",
        resolved.config,
        resolved.origins,
        inputs={
            "sft": {"data": Input("file", '/a "b"\\c\n.json', "00", fields="prompt=question", rows=3)},
            "rm": {"data": Input("labels", "/labels.db", "11", until=27), "init": Input("model", "tiny:rm", "22")},
            "ppo": {"reward": Input("pocket", "pocket:judge")},
        },
        shared={"pretrain": {"run": "tiny", "path": "../tiny/base/final", "sha256": "11"}},
        parents={"tiny": {"path": "../tiny", "sha256": "22"}},
        day="2024-02-29",
    )


def test_a_record_round_trips(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    write_run_toml(run, record())
    assert read_run_toml(run) == record()
    table = tomllib.loads(run.run_toml.read_text())
    assert table["origins"] == {"seed": "--seed", "threads": "--threads", "ppo.kl_coef": "--set"}
    assert table["config"]["ppo"]["kl_coef"] == 0.1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("schema = = 1", "cannot read"),
        (
            "schema = 9",
            r"another version of slmctl \(schema 9; this version reads schema 2\): start a new run with --run",
        ),
        ('schema = 1\n[inputs.sft]\ndata = "d.json"\ndata_sha256 = "00"', "schema 1; this version reads schema 2"),
        ('schema = 2\n[inputs.sft]\ndata = "d.json"', r"is damaged at inputs\.sft\.data"),
        ("schema = 2\nshared = 3", "is damaged at shared"),
        ("schema = 2\n[shared.sft]", r"a stage in \[shared\] has no path"),
        ("schema = 2\n[config.ppo]\nold_setting = 1", "does not fit this version of slmctl at config.ppo.old_setting"),
    ],
)
def test_a_record_that_cannot_be_read_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(FileError, match=sentence):
        read_run_toml(RunDir(tmp_path))


def test_a_missing_record_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"cannot read .*run\.toml"):
        read_run_toml(RunDir(tmp_path))


def test_hashes_follow_the_content(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"abc")
    assert hash_path(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"one")
    before = hash_path(model)
    (model / "notes.md").write_text("not part of the model")
    assert hash_path(model) == before
    (model / "model.safetensors").write_bytes(b"two")
    assert hash_path(model) != before
    with pytest.raises(FileError, match="cannot read"):
        hash_path(tmp_path / "none")
