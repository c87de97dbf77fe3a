"""`export`, and what `data` says of a label database."""

import json
from pathlib import Path

import pytest

from tests.slmctl.conftest import Cli
from tests.support.label_databases import judged, stored

TIE, B = (0, 0), (1, 0)


@pytest.fixture
def database(tmp_path: Path) -> str:
    """Six labels of ann and bob: two choices against each other, a repeat, a tie, a skip and an edit."""
    path = tmp_path / "labels.db"
    edit = judged("esc \x1b[31m", "b", None, verdict="edit", edited="\x9b31m ünique", annotator="bob")
    bob, again = judged("b", "a", annotator="bob"), judged("b", "a", B, repeats=1)
    stored(path, judged(seconds=5.0), bob, again, judged("c", "d", ranks=TIE), judged(ranks=None), edit)
    return str(path)


def test_rows_go_to_stdout_and_counts_to_stderr(cli: Cli, database: str) -> None:
    outcome = cli("export", "--db", database, "--format", "trl")
    assert outcome.code == 0
    assert [json.loads(line) for line in outcome.out.splitlines()] == [
        {"prompt": "Hi", "chosen": "a", "rejected": "b"},
        {"prompt": "Hi", "chosen": "b", "rejected": "a"},
    ]
    assert outcome.err.splitlines() == [
        f"{database}: trl, labels: 2, rows: 2",
        "skipped 2: skip or edit, without a ranking",
        "skipped 1: repeated pair",
        "skipped 1: tie, without a preference",
    ]


def test_a_file_is_written_once(cli: Cli, database: str, tmp_path: Path) -> None:
    out = tmp_path / "new" / "edits.jsonl"
    typed = ("export", "--db", database, "--format", "sft", "--annotator", "bob", "--out", str(out))
    outcome = cli(*typed)
    assert (outcome.code, outcome.out) == (0, "")
    assert json.loads(out.read_text()) == {"prompt": "Hi", "completion": "\x9b31m ünique"}
    assert out.read_bytes().isascii()
    assert outcome.err.splitlines()[0] == f"{out}: sft, labels: 1, rows: 1"
    again = cli(*typed)
    assert again.code == 2 and "exists and is not overwritten" in again.err


@pytest.mark.parametrize(
    ("typed", "code", "words"),
    [
        (["--format", "tlr"], 2, "unknown format 'tlr'; did you mean 'trl'?"),
        (["--format", "trl", "--annotator", "eve"], 2, "no labels by annotator 'eve' (annotators: ann, bob)"),
        (["--format", "trl", "--out", "x.json"], 2, "--out is x.json; its name must end in .jsonl"),
        (["--format", "trl", "--db", "none.db"], 3, "label database none.db not found"),
        (["--format", "sft", "--annotator", "ann"], 3, "gives no sft rows: skipped 4: no edited response"),
        ([], 2, "Missing option '--format'"),
    ],
)  # fmt: skip
def test_mistakes_are_sentences(cli: Cli, database: str, typed: list[str], code: int, words: str) -> None:
    outcome = cli("export", "--db", database, *typed)
    assert (outcome.code, outcome.out) == (code, "")
    assert words in outcome.err and "Traceback" not in outcome.err


def test_a_database_is_checked_and_shown(cli: Cli, database: str) -> None:
    outcome = cli("data", "check", database)
    assert outcome.code == 0 and max(map(len, outcome.out.splitlines()[1:])) <= 80
    assert f"{database}: comparisons, 3 rows, 3 good, 0 empty (skipped)" in " ".join(outcome.out.split())
    for words in (
        "labels          6 (3 choice, 1 tie, 1 skip, 1 edit), 0 withdrawn; 12.0/min\n",
        "self-agreement  1 of 1 repeated pairs judged as before (100%, 21% to 100%)\n",
        "agreement       ann and bob agree on 0 of 1 pairs (0%, 0% to 79%), kappa -1.00\n",
        "position bias   the first response won in 2 of 3 labels (67%, 21% to 94%)\n",
        "contradictions  1 pairs judged both ways\n                Hi\n                  label 1 prefers a",
    ):
        assert words in outcome.out
    assert "length bias" not in outcome.out
    found = json.loads(cli("data", "check", f"{database}@2", "--json").out)
    assert (found["rows"], found["labels"]["standing"], found["labels"]["self_agreement"]) == (2, 2, None)
    outcome = cli("data", "show", database, "--kind", "demonstrations")
    assert outcome.out == "prompt     Hi\nresponse   \ufffd31m ünique\n\n"


def test_an_empty_database_holds_no_labels_yet(cli: Cli, tmp_path: Path) -> None:
    stored(tmp_path / "l.db")
    for words in (("data", "check"), ("data", "show")):
        empty = cli(*words, str(tmp_path / "l.db"))
        assert (empty.code, empty.err) == (3, f"error: {tmp_path / 'l.db'} has no labels yet\n")


def test_flags_and_notes_are_counted_and_exported(cli: Cli, tmp_path: Path) -> None:
    path = str(tmp_path / "l.db")
    stored(tmp_path / "l.db", judged(flagged=True, note="rude"), judged("c", flagged=True), judged("d", strength=2))
    checked = cli("data", "check", path).out
    assert "marked          2 flagged, 1 with a note; export --format rankings shows which\n" in checked
    assert "unused" not in checked
    labels = json.loads(cli("data", "check", path, "--json").out)["labels"]
    assert (labels["flagged"], labels["noted"]) == (2, 1)
    rows = [json.loads(line) for line in cli("export", "--db", path, "--format", "rankings").out.splitlines()]
    assert [(row["strength"], row["flagged"], row["note"]) for row in rows] == [
        (1, True, "rude"),
        (1, True, ""),
        (2, False, ""),
    ]
    assert set(json.loads(cli("export", "--db", path, "--format", "trl").out.splitlines()[0])) == {
        "prompt",
        "chosen",
        "rejected",
    }
