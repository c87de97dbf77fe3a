"""Files as raw rows: .csv and compressed files; test_readers.py tests .json, .jsonl and .txt."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.errors import DataError, FileError
from engine.data.files import RawRow, Source, parse_map, read_rows, suffix_of
from engine.data.readers import read_demonstrations, read_prompts, read_rankings
from engine.data.records import Demonstration, Message, Ranking


def rows_of(path: Path, text: str) -> list[RawRow]:
    path.write_text(text, encoding="utf-8", newline="")
    return list(read_rows(path, ""))


def table(*rows: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


def test_a_csv_file_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    text = 'prompt,completion\r\n"Say ""hi"", please","two\nlines"\r\nBye,Yo\r\n'
    assert rows_of(path, text) == [
        RawRow(f"{path}, line 2", {"prompt": 'Say "hi", please', "completion": "two\nlines"}),
        RawRow(f"{path}, line 4", {"prompt": "Bye", "completion": "Yo"}),
    ]
    assert read_demonstrations(path).records[0] == Demonstration('Say "hi", please', "two\nlines")


def test_cells_with_lists_and_numbers_are_json(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Hi"}]
    path = tmp_path / "c.csv"
    ranked = table(
        ["prompt", "responses", "ranking", "margin"],
        ["Hi", json.dumps(["Yo", "Go", "No"]), "[1, 2, 2]", ""],
        [json.dumps(turns), json.dumps(["a", "b"]), "[2, 1]", "0.5"],
        ["[{ is no list", json.dumps(["a", "b"]), "[2, 1]", "0.5"],
    )
    path.write_text(ranked, newline="")
    assert read_rankings(path).records == [
        Ranking("Hi", ("Yo", "Go", "No"), (0, 1, 1)),
        Ranking((Message("user", "Hi"),), ("a", "b"), (1, 0)),
        Ranking("[{ is no list", ("a", "b"), (1, 0)),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prompt,completion\na,b,c,d\n", "line 2: 2 more cells than columns"),
        ("prompt,ranking\na,first\n", "line 2: ranking must be JSON in a .csv file, got 'first'"),
    ],
)
def test_a_bad_row_of_a_csv_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    (row,) = rows_of(tmp_path / "d.csv", text)
    assert isinstance(row.value, DataError) and words in str(row.value)


@pytest.mark.parametrize(
    ("text", "words"), [("", "line 1: expected column names"), ("a,b,a\n", "line 1: column names must be unique")]
)
def test_a_csv_file_without_names_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        rows_of(tmp_path / "d.csv", text)


def test_a_column_without_a_name_is_not_read(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path / "d.csv", ",prompt\n0,Hi\n")
    assert row.value == {"prompt": "Hi"}


def test_an_open_quote_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not valid CSV"):
        rows_of(tmp_path / "d.csv", 'prompt\n"never closed')


def test_a_missing_cell_is_a_missing_field(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("prompt,completion\nHi\n")
    with pytest.raises(DataError, match=r"d\.csv, line 2: .*completion"):
        read_demonstrations(path)


@given(cells=st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2), max_size=5))
def test_any_text_comes_back_from_a_csv_file(cells: list[list[str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    kept = [row for row in cells if any(row) and not any(cell.startswith("[{") for cell in row)]
    path = tmp_path_factory.mktemp("csv") / "d.csv"
    found = [row.value for row in rows_of(path, table(["a", "b"], *kept))]
    assert found == [dict(zip("ab", row, strict=True)) for row in kept]


def test_an_empty_cell_of_a_list_is_a_missing_field(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("messages,prompt,completion\n,Hi,Yo\n")
    assert read_demonstrations(path).records == [Demonstration("Hi", "Yo")]


def test_field_maps_rename_fields(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"question": "Hi", "completion": 5, "instances": [{"output": "Yo"}]}\n{"question": "Hi"}\n')
    source = Source(str(path), parse_map(["prompt=question,completion=instances.0.output"]))
    assert str(source) == str(path)
    good, bad = read_rows(source, "")
    assert good.value == {"prompt": "Hi", "completion": "Yo"}
    field = 'field "instances.0.output" of --map completion=instances.0.output'
    assert str(bad.value) == f"{path}, line 2: {field} is missing (found: question)"
    with pytest.raises(DataError, match=r'line 2: field "instances\.0\.output"'):
        read_demonstrations(source)


def test_a_line_of_100_mb_is_read_and_its_error_is_short(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    long = "a" * 100_000_000
    path.write_text(json.dumps({"prompt": "Hi", "completion": long}) + "\n")
    (row,) = read_demonstrations(path).records
    assert len(row.response) == len(long)
    for text in (f'{{"prompt": "{long}", "completion": 5}}\n', f'{{"prompt": "{long}'):
        path.write_text(text)
        with pytest.raises(DataError, match=r"d\.jsonl, line 1: ") as caught:
            read_demonstrations(path)
        assert len(str(caught.value)) < 300


def test_a_file_that_decompresses_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.data.files.MOST_UNPACKED", 1000)
    path = tmp_path / "d.jsonl.gz"
    path.write_bytes(gzip.compress(b" " * 1001))
    with pytest.raises(FileError, match=r"d\.jsonl\.gz decompresses to more than"):
        read_demonstrations(path)


@pytest.mark.parametrize("name", ["d.jsonl", "d.json", "d.csv"])
def test_a_compressed_file_holds_the_same_rows(tmp_path: Path, name: str) -> None:
    row = {"prompt": "Hi", "completion": "Yö"}
    texts: dict[str, Any] = {
        "d.jsonl": json.dumps(row) + "\n",
        "d.json": json.dumps([row]),
        "d.csv": table(list(row), list(row.values())),
    }
    path = tmp_path / f"{name}.gz"
    path.write_bytes(gzip.compress(texts[name].encode()))
    assert suffix_of(path) == Path(name).suffix
    assert read_demonstrations(path).records == [Demonstration("Hi", "Yö")]


def test_compressed_text_and_damaged_compression(tmp_path: Path) -> None:
    path = tmp_path / "p.txt.gz"
    path.write_bytes(gzip.compress(b"Hi\nBye\n"))
    assert [row.prompt for row in read_prompts(path).records] == ["Hi", "Bye"]
    for broken in (b"Hi\n", gzip.compress(b"Hi there")[:-6]):
        path.write_bytes(broken)
        with pytest.raises(FileError, match=r"cannot decompress .*p\.txt\.gz"):
            read_prompts(path)
    (tmp_path / "d.xml.gz").write_bytes(b"")
    with pytest.raises(FileError, match=r"optionally with \.gz"):
        read_demonstrations(tmp_path / "d.xml.gz")
