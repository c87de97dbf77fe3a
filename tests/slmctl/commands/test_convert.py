"""`data convert`: what it writes, what it says, what it refuses."""

import json
from pathlib import Path

import pytest

from engine.data.readers import read_rankings
from tests.slmctl.conftest import Cli


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    """Ten trees of one prompt with two ranked replies and one without a rank."""
    file = tmp_path / "trees.jsonl"
    replies = [{"role": "assistant", "text": text, "rank": rank} for text, rank in (("a", 0), ("b", 1), ("c", None))]
    with file.open("w") as out:
        for i in range(10):
            row = {"message_tree_id": f"t{i}", "prompt": {"role": "prompter", "text": f"é{i}\x1b", "replies": replies}}
            out.write(json.dumps(row) + "\n")
    return file


def test_written_rows_can_be_read_and_skipped_ones_are_counted(cli: Cli, trees: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "c.jsonl"
    outcome = cli("data", "convert", str(trees), "--out", str(out))
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err.splitlines() == [
        f"{trees}: 10 conversation trees with 30 replies",
        f"{out}: 10 comparisons with 20 replies",
        "skipped 10: without a rank",
    ]
    assert [ranking.responses for ranking in read_rankings(out).records] == [("a", "b")] * 10
    assert cli("data", "check", str(out)).code == 0


def test_held_out_trees_follow_from_the_seed(cli: Cli, trees: Path, tmp_path: Path) -> None:
    held = {}
    for name, words in (("a", []), ("b", ["--seed", "0"]), ("c", ["--seed", "1"]), ("d", ["--validation-share", ".4"])):
        train, validation = tmp_path / f"{name}t.jsonl", tmp_path / f"{name}v.jsonl"
        outcome = cli("data", "convert", str(trees), "--out", str(train), "--validation", str(validation), *words)
        assert outcome.code == 0
        held[name] = {ranking.prompt for ranking in read_rankings(validation).records}
        assert held[name].isdisjoint(ranking.prompt for ranking in read_rankings(train).records)
    assert held["a"] == held["b"] != held["c"]
    assert (len(held["a"]), len(held["d"])) == (1, 4)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--out", "{trees}"], 2, "exists and is not overwritten"),
        (["--out", "c.json"], 2, "--out is c.json; its name must end in .jsonl"),
        (["--out", "c.jsonl", "--validation-share", ".1"], 2, "--validation-share needs --validation"),
        (["--out", "c.jsonl", "--validation", "v.jsonl", "--validation-share", "1"], 2, "must be between 0 and 1"),
        (["--out", "c.jsonl", "--validation", "./c.jsonl"], 2, "name the same file"),
        (["--out", "c.jsonl", "--kind", "text"], 2, "use comparisons or demonstrations"),
        (["--out", "c.jsonl", "--language", "de"], 3, "gives no comparisons out of 30 replies: skipped 30"),
        (["--out", "{trees}/c.jsonl"], 3, "cannot write"),
        ([], 2, "--out"),
        (["--out", "c.jsonl", "--validation", "/proc/none/v.jsonl"], 3, "cannot write /proc/none/v.jsonl"),
    ],
)
def test_mistakes_are_sentences_and_write_nothing(
    cli: Cli, trees: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, sentence: str
) -> None:
    monkeypatch.chdir(trees.parent)
    outcome = cli("data", "convert", str(trees), *(word.format(trees=trees) for word in words))
    assert (outcome.code, outcome.out) == (code, "")
    assert sentence in outcome.err and "Traceback" not in outcome.err
    assert [path.name for path in trees.parent.iterdir()] == ["trees.jsonl"]
