"""The survey of a data file: good, bad, empty, duplicate, tied and leaked rows."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.core.errors import ConfigError, FileError
from engine.data.files import Source
from engine.data.survey import DataReport, Lengths, SharedPrompt, survey_source
from tests.support.paths import SHARED

DATA = SHARED / "data"


def report_on(path: Path, kind: str, *rows: Any, against: Path | None = None) -> DataReport:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return survey_source(Source(str(path)), kind, Source(str(against)) if against else None)


def pair(prompt: Any, chosen: str, rejected: str) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


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
    report = survey_source(file, "comparisons", Source(str(other)))
    assert (report.rows, report.good, report.empty, report.duplicates) == (6, 3, 1, 1)
    assert (report.pairs, report.ties, len(report.shared)) == (5, 1, 2)
    assert report.prompt_length == Lengths(1, 1, 4)
    assert report.response_length == Lengths(1, 2, 4)
    assert [problem.split(": ")[0].rsplit(", ")[-1] for problem in report.problems] == ["line 5", "line 6"]


def test_bad_demonstrations_are_counted_by_their_label(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "completion": "b", "label": label} for label in (True, False, False)]
    report = report_on(tmp_path / "kto.jsonl", "demonstrations", *rows)
    assert (report.rows, report.good, report.judged_bad, report.duplicates, report.unused) == (3, 1, 2, 0, {})


TURNS = [{"role": "user", "content": "  HI"}]
REPLY = {"role": "assistant", "content": "a"}
HH = "\n\nHuman: hi\n\nAssistant: "


def test_the_same_pair_in_two_forms_is_compared(tmp_path: Path) -> None:
    file = tmp_path / "c.jsonl"
    report = report_on(
        file,
        "comparisons",
        pair("Hi", "a", "b"),
        {"chosen": HH + "b", "rejected": HH + "a"},
        {"prompt": TURNS, "responses": ["a", "b", "c"], "ranking": [1, 2, 2]},
        pair("Hi", "c", "b"),
        pair("Bye", "b", "a"),
    )
    found = report.consistency
    assert found.judged_again == 2  # a with b three times: better, worse, better; c with b: tie, better
    assert found.agreement == pytest.approx(1 / 4)
    (contradiction,) = found.contradictions
    assert (contradiction.prompt, contradiction.chosen, contradiction.rejected) == ("Hi", "a", "b")
    assert contradiction.places == (f"{file}, line 1", f"{file}, line 2")
    assert found.identical == 0 and report.duplicates == 0


def test_a_contradiction_names_the_first_row_of_each_side(tmp_path: Path) -> None:
    file = tmp_path / "c.jsonl"
    tie = {"prompt": "Hi", "responses": ["a", "b"], "ranking": [1, 1]}
    rows = [tie, *[pair("Hi", "b", "a")] * 2, *[pair("Hi", "a", "b")] * 2]
    found = report_on(file, "comparisons", *rows).consistency
    (contradiction,) = found.contradictions
    assert found.agreement == pytest.approx(2 / 10)
    assert (contradiction.chosen, contradiction.places) == ("b", (f"{file}, line 2", f"{file}, line 4"))


def test_agreeing_judgments_and_pairs_of_identical_responses(tmp_path: Path) -> None:
    same = {"prompt": "Hi", "responses": ["a", "b", "a "], "ranking": [1, 2, 1]}
    found = report_on(tmp_path / "c.jsonl", "comparisons", pair("Hi", "a", "a"), pair("Hi", "b", "c"), same).consistency
    assert (found.identical, found.judged_again, found.agreement, found.contradictions) == (2, 1, 1.0, [])
    found = report_on(tmp_path / "c.jsonl", "comparisons", pair("Hi", "a", "b"), pair("Ho", "b", "a")).consistency
    assert (found.judged_again, found.agreement) == (0, None)


@pytest.mark.parametrize(
    ("kind", "rows", "repeated", "duplicates"),
    [
        ("comparisons", [pair("Hi", "a", "b"), pair("hi ", "c", " a"), pair("Ho", "a", "b")], 1, 0),
        ("comparisons", [pair("Hi", "a", "b"), pair("Hi", "a", "b")], 0, 1),
        ("demonstrations", [{"prompt": prompt, "completion": "a"} for prompt in ("Hi", "HI", "Hi", "Ho")], 1, 1),
        ("prompts", [{"prompt": "Hi"}, {"prompt": "Hi"}], 0, 1),
    ],
)
def test_repeated_responses_are_counted(
    tmp_path: Path, kind: str, rows: list[Any], repeated: int, duplicates: int
) -> None:
    report = report_on(tmp_path / "r.jsonl", kind, *rows)
    assert (report.repeated, report.duplicates) == (repeated, duplicates)


def test_shared_prompts_are_found_in_any_form_spacing_and_case(tmp_path: Path) -> None:
    file, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    report_on(other, "prompts", {"prompt": "Ho"}, {"messages": TURNS}, {"prompt": "hi"})
    report = report_on(file, "prompts", {"prompt": "H i"}, {"prompt": "Hi\n"}, {"prompt": "ho  "}, against=other)
    assert report.shared == [
        SharedPrompt("Hi\n", (f"{file}, line 2", f"{other}, line 2")),
        SharedPrompt("ho  ", (f"{file}, line 3", f"{other}, line 1")),
    ]


@pytest.mark.parametrize(
    ("kind", "rows", "unused"),
    [
        ("prompts", [{"prompt": "a", "answer": "b", "id": 3}, {"prompt": "a", "id": 4}], {"id": 2, "answer": 1}),
        ("demonstrations", [{"messages": [*TURNS, REPLY], "prompt": "a"}], {"prompt": 1}),
        ("demonstrations", [{"instruction": "a", "input": "", "output": "b"}], {}),
        ("comparisons", [pair("a", "b", "c") | {"margin": 1, "instruction": "a"}], {"instruction": 1}),
        ("comparisons", [{"prompt": "a", "responses": ["b", "c"], "ranking": [1, 2], "chosen": "b"}], {"chosen": 1}),
        ("text", [{"text": "a", "title": "b"}, {"text": 3, "author": "c"}, {"text": "", "date": "d"}],
         {"date": 1, "title": 1}),
    ],
)  # fmt: skip
def test_unused_fields_are_counted(tmp_path: Path, kind: str, rows: list[Any], unused: dict[str, int]) -> None:
    report = report_on(tmp_path / "u.jsonl", kind, *rows)
    assert list(report.unused.items()) == list(unused.items())


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError):
        survey_source(tmp_path / "none.jsonl", "text")
    with pytest.raises(ConfigError):
        survey_source(tmp_path / "none.jsonl", "labels")


@pytest.mark.skipif(not DATA.is_dir(), reason="the public data lies beside the checkout on some machines only")
@pytest.mark.parametrize(
    ("name", "kind", "rows"),
    [("instruction-data.json", "demonstrations", 1100), ("instruction-data-with-preference.json", "comparisons", 1100)],
)
def test_public_files_are_read_whole(name: str, kind: str, rows: int) -> None:
    report = survey_source(DATA / name, kind)
    assert (report.good, report.problems) == (rows, [])
