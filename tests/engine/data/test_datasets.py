"""Parquet files, dataset folders and hub names, with files written by pyarrow and datasets."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pyarrow
import pytest
from datasets import Dataset, DatasetDict
from pyarrow import parquet

from engine.core.errors import ConfigError, DataError
from engine.data.datasets import absolute, dataset_hash, dataset_rows, is_dataset
from engine.data.files import Source
from engine.data.readers import read_demonstrations, read_rankings
from engine.data.records import Demonstration, Message, Ranking

TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]
ROWS = [
    {"prompt": "Hi", "completion": "Yö", "messages": None},
    {"prompt": None, "completion": None, "messages": TURNS},
]
READ = [Demonstration("Hi", "Yö"), Demonstration((Message("user", "Hi"),), "Yo")]


def test_a_parquet_file_plain_and_compressed(tmp_path: Path) -> None:
    plain, packed = tmp_path / "d.parquet", tmp_path / "d.parquet.gz"
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), plain)
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_demonstrations(plain).records == read_demonstrations(packed).records == READ


def test_lists_of_a_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    row = {"prompt": "Hi", "responses": ["a", "b", "c"], "ranking": [2, 1, 2]}
    parquet.write_table(pyarrow.Table.from_pylist([row]), path)
    assert read_rankings(path).records == [Ranking("Hi", ("a", "b", "c"), (1, 0, 1))]


def test_bad_rows_and_damaged_parquet_files(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([{"prompt": "Hi", "completion": 5}]), path)
    with pytest.raises(DataError, match=r"d\.parquet, row 1: completion must be a string, got 5"):
        read_demonstrations(path)
    whole = path.read_bytes()
    for damaged in (b"", b"PAR1", whole[:-9], whole[: len(whole) // 2] + b"PAR1"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"d\.parquet is not a valid Parquet file"):
            read_demonstrations(path)


def test_a_folder_of_files_is_a_dataset(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    for split, text in (("train", "Hi"), ("test", "Bye")):
        (folder / f"{split}.jsonl").write_text(json.dumps({"prompt": text, "completion": "Yo"}) + "\n")
    assert is_dataset(str(folder)) and is_dataset(f"{folder}@test") and not is_dataset(str(folder / "train.jsonl"))
    assert read_demonstrations(Source(str(folder))).records == [Demonstration("Hi", "Yo")]
    assert read_demonstrations(Source(f"{folder}@test")).records == [Demonstration("Bye", "Yo")]
    with pytest.raises(ConfigError, match=r"own@dev has no split 'dev' \(splits: train, test\)"):
        read_demonstrations(Source(f"{folder}@dev"))
    before = dataset_hash(str(folder))
    assert before == dataset_hash(str(folder)) != dataset_hash(f"{folder}@test")
    (folder / "train.jsonl").write_text(json.dumps({"prompt": "Hi!", "completion": "Yo"}) + "\n")
    assert dataset_hash(str(folder)) != before
    (folder / "more.csv").write_text("prompt,completion\na,b\n")
    with pytest.raises(ConfigError, match="own has CSV and JSON files; pass one file, or separate the formats"):
        read_demonstrations(Source(str(folder)))


def test_datasets_saved_to_disk(tmp_path: Path) -> None:
    one = Dataset.from_list([{"prompt": "Hi", "completion": "Yo"}])
    one.save_to_disk(tmp_path / "one")
    test = Dataset.from_list([{"prompt": "Bye", "completion": "Yo"}])
    DatasetDict({"train": one, "test": test}).save_to_disk(tmp_path / "both")
    for name in ("one", "both"):
        assert list(dataset_rows(str(tmp_path / name))) == [{"prompt": "Hi", "completion": "Yo"}]
    assert list(dataset_rows(f"{tmp_path / 'both'}@test")) == [{"prompt": "Bye", "completion": "Yo"}]


def test_names_of_hub_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_dataset("hf:org/name") and absolute("hf:org/name:config@test") == "hf:org/name:config@test"
    for name in ("hf:", "hf:a/b/c", "hf:org/name@", "hf:../x"):
        with pytest.raises(ConfigError, match=r"invalid hub dataset .*; use hf:ORG/NAME"):
            dataset_rows(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "name").mkdir(parents=True)
    with pytest.raises(ConfigError, match="there is also a local folder org/name"):
        dataset_rows("hf:org/name")


def test_a_hub_dataset_without_a_network_is_one_sentence() -> None:
    code = "from engine.data.datasets import dataset_rows; dataset_rows('hf:nobody/nothing')"
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, env={"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False)
    assert "FileError: cannot load dataset hf:nobody/nothing: " in ended.stderr.splitlines()[-1]


def test_an_unreachable_hub_is_not_retried() -> None:
    code = """
import socket
from engine.data.datasets import dataset_rows
asked = []


def refuse(*given, **named):
    asked.append(given)
    raise socket.gaierror(-2, "no network")


socket.getaddrinfo = refuse
try:
    dataset_rows("hf:nobody/nothing")
finally:
    print(len(asked))
"""
    environ = {"HF_HUB_DISABLE_TELEMETRY": "1"}  # else the library asks for a list of agents as well
    ended = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert "FileError: cannot load dataset hf:nobody/nothing: " in ended.stderr.splitlines()[-1]
    assert ended.stdout == "1\n"


def test_torch_is_not_loaded_for_a_dataset(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"prompt": "Hi"}\n')
    read = f"from engine.data.datasets import dataset_rows; list(dataset_rows({str(tmp_path)!r}))"
    code = f"import sys; {read}; print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"
