"""A report on a data file counts what is good, bad, empty, doubled, tied and leaked."""

import json
from pathlib import Path

import pytest

from engine.errors import ConfigError, FileError
from engine.survey import Lengths, check

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def test_everything_is_counted(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a", "chosen": "bb", "rejected": "cccc"},
        {"prompt": "a", "chosen": "bb", "rejected": "cccc"},
        {"prompt": "long", "responses": ["x", "y", "z"], "ranking": [1, 1, 2]},
        {"prompt": "a", "chosen": "", "rejected": "c"},
        {"prompt": "a", "chosen": "b"},
    ]
    file, other = tmp_path / "c.jsonl", tmp_path / "o.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{\n")
    other.write_text(json.dumps({"prompt": "a", "chosen": "1", "rejected": "2"}))
    report = check(file, "comparisons", other)
    assert (report.rows, report.good, report.empty, report.duplicates) == (6, 3, 1, 1)
    assert (report.pairs, report.ties, report.shared_prompts) == (5, 1, 2)
    assert report.prompt_length == Lengths(1, 1, 4)
    assert report.response_length == Lengths(1, 2, 4)
    assert [problem.split(": ")[0].rsplit(", ")[-1] for problem in report.problems] == ["line 5", "line 6"]


def test_a_file_that_cannot_be_read_at_all(tmp_path: Path) -> None:
    with pytest.raises(FileError):
        check(tmp_path / "none.jsonl", "text")
    with pytest.raises(ConfigError):
        check(tmp_path / "none.jsonl", "labels")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the public data lies beside the checkout on some machines only")
@pytest.mark.parametrize(
    ("name", "kind", "rows"),
    [("instruction-data.json", "demonstrations", 1100), ("instruction-data-with-preference.json", "comparisons", 1100)],
)
def test_public_files_are_read_whole(name: str, kind: str, rows: int) -> None:
    report = check(SHARED / name, kind)
    assert (report.good, report.problems) == (rows, [])
