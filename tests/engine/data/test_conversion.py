"""Conversion of conversation trees and self-instruct tasks: rows, skipped replies, errors."""

import copy
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.errors import ConfigError, DataError
from engine.data.conversion import (
    Conversion,
    convert_file,
    split_rows,
    tree_demonstrations,
    tree_messages,
    tree_rankings,
)
from engine.data.readers import read_demonstrations, read_rankings
from tests.support.paths import SHARED

DATA = SHARED / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the public data lies beside the checkout in some places")


def ask(text: Any, *replies: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "prompter", "text": text, "replies": list(replies), **fields}


def say(text: Any, *replies: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "text": text, "replies": list(replies), **fields}


def turn(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


TREE = ask(
    "Hi",
    say("fine", rank=1),
    say(
        "best",
        ask("More?", say("x", rank=0), say("y", rank=0), say("z", rank=3, deleted=False, synthetic=None)),
        ask("Again?", say("lone", rank=0), say("unranked")),
        ask("Tied?", say("p", rank=1), say("q", rank=1)),
        rank=0,
        review_result=True,
        lang="en",
    ),
    say(" best ", rank=2),
    say("unranked", ask("Sure?", say("a", rank=1), say("b", rank=0)), rank=None),
    say("gone", ask("Why?", say("c", rank=1), say("d", rank=0)), rank=4, deleted=True),
    say("machine", rank=5, synthetic=True),
    say("spam", rank=6, review_result=False),
    say("new", rank=7, review_result=None),
    say(" ", rank=8),
)


def test_a_tree_by_hand_gives_rankings() -> None:
    left_out: Counter[str] = Counter()
    start = [turn("user", "Hi"), turn("assistant", "best")]
    assert tree_rankings(tree_messages({"prompt": TREE}), left_out) == [
        {"prompt": [turn("user", "Hi")], "responses": ["fine", "best"], "ranking": [1, 0]},
        {"prompt": [*start, turn("user", "More?")], "responses": ["x", "y", "z"], "ranking": [0, 0, 3]},
        {
            "prompt": [turn("user", "Hi"), turn("assistant", "unranked"), turn("user", "Sure?")],
            "responses": ["a", "b"],
            "ranking": [1, 0],
        },
    ]
    assert +left_out == {
        "without a rank": 2,
        "same text as a better one": 1,
        "nothing to compare with": 1,
        "tied with all others": 2,
        "deleted": 1,
        "after a skipped message": 2,
        "synthetic": 1,
        "rejected in review": 1,
        "not reviewed": 1,
        "empty": 1,
    }
    assert left_out.total() + 2 + 3 + 2 == json.dumps(TREE).count('"assistant"')


def test_a_tree_by_hand_gives_demonstrations() -> None:
    left_out: Counter[str] = Counter()
    tree = ask("Hi", say("ok", rank=1), say("best", ask("So?", say("lone")), ask("Eh?", say("a"), say("b")), rank=0))
    start = [turn("user", "Hi"), turn("assistant", "best")]
    assert tree_demonstrations(tree_messages({"prompt": tree}), left_out) == [
        {"prompt": start[:1], "completion": "best"},
        {"prompt": [*start, turn("user", "So?")], "completion": "lone"},
    ]
    assert +left_out == {"not the best": 1, "without a rank, beside others": 2}


def test_other_languages_and_stopped_trees_stay_out() -> None:
    tree = ask("Hi", say("a", rank=0, lang="en"), say("b", rank=1, lang="de"), say("c", rank=2, lang="en"), lang="en")
    left_out: Counter[str] = Counter()
    assert tree_rankings(tree_messages({"prompt": tree}, "en"), left_out)[0]["responses"] == ["a", "c"]
    assert +left_out == {"in another language": 1}
    left_out = Counter()
    assert tree_rankings(tree_messages({"prompt": tree, "tree_state": "aborted_low_grade"}), left_out) == []
    assert +left_out == {"in a stopped tree": 3}


def deep(levels: int, bottom: dict[str, Any]) -> dict[str, Any]:
    for level in range(levels):
        bottom = (say if level % 2 == 0 else ask)(f"{level}", bottom)
    return bottom


@pytest.mark.slow
def test_a_tree_of_ten_thousand_levels() -> None:
    assert sys.getrecursionlimit() < 10_000
    (row,) = tree_rankings(
        tree_messages({"prompt": deep(10_000, ask("?", say("a", rank=1), say("b", rank=0)))}), Counter()
    )
    assert len(row["prompt"]) == 10_001 and row["prompt"][0] == turn("user", "9999")
    with pytest.raises(
        DataError, match=r"^prompt(\.replies\[0\]){3} \(9994 more levels\) (\.replies\[0\]){3}\.text mu"
    ):
        tree_messages({"prompt": deep(10_000, ask(5))})


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        ([], "a tree must be an object with named fields, got a list"),
        ({"prompt": "Hi"}, "prompt must be an object with named fields, got 'Hi'"),
        ({"prompt": {"role": "prompter"}}, 'field "prompt.text" is missing'),
        ({"prompt": ask("Hi"), "tree_state": 3}, "tree_state must be a string, got 3"),
        ({"prompt": ask("Hi", say("a"), say(5))}, "prompt.replies[1].text must be a string, got 5"),
        ({"prompt": ask("Hi", say("\ud800"))}, "prompt.replies[0].text is not valid Unicode"),
        ({"prompt": ask("Hi", say("a", rank=True))}, "prompt.replies[0].rank must be an integer, got True"),
        ({"prompt": ask("Hi", say("a", rank=0.5))}, "prompt.replies[0].rank must be an integer, got 0.5"),
        ({"prompt": ask("Hi", say("a", deleted="no"))}, "prompt.replies[0].deleted must be true or false, got 'no'"),
        ({"prompt": ask("Hi", say("a", lang=[]))}, "prompt.replies[0].lang must be a string, got a list"),
        ({"prompt": {**ask("Hi"), "replies": {}}}, "prompt.replies must be a list, got an object"),
        ({"prompt": ask("Hi", 7)}, "prompt.replies[0] must be an object with named fields, got 7"),
        ({"prompt": say("Hi")}, "prompt.role must be 'prompter' here, got 'assistant'"),
        ({"prompt": ask("Hi", say("a", say("b")))}, "prompt.replies[0].replies[0].role must be 'prompter' here"),
    ],
)
def test_a_wrong_type_is_named_by_its_field(tree: Any, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        tree_messages(tree)
    assert str(caught.value).startswith(sentence)


def test_a_bad_row_is_named_by_its_line_too(tmp_path: Path) -> None:
    good = {"prompt": ask("Hi", say("a", rank=0))}
    for bad, words in (({"prompt": ask("Hi", say(5))}, "prompt.replies[0].text must be"), (3, "the row must be")):
        file = jsonl(tmp_path / "t.jsonl", good, good, bad)
        with pytest.raises(DataError) as caught:
            convert_file(file)
        assert str(caught.value).startswith(f"{file}, line 3: {words}")
    file.write_text(json.dumps(good) + "\n{\n")
    with pytest.raises(DataError) as caught:
        convert_file(file)
    assert str(caught.value).startswith(f"{file}, line 2: not valid JSON")


@pytest.mark.parametrize(
    ("row", "kind", "language", "sentence"),
    [
        (
            {"question": "Hi"},
            None,
            None,
            "line 1: cannot convert this format; supported are conversation",
        ),
        ({"prompt": "Hi", "chosen": "a"}, None, None, "cannot convert this format"),
        ({"prompt": ask("Hi")}, "prompts", None, "cannot convert to 'prompts'; use comparisons or"),
        ({"instruction": "Hi", "instances": []}, "comparisons", None, "convert them to demonstrations"),
        ({"instruction": "Hi", "instances": []}, None, "en", "have no language"),
    ],
)
def test_unsupported_conversions_are_refused(tmp_path: Path, row: Any, kind: Any, language: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        convert_file(jsonl(tmp_path / "x.jsonl", row), kind, language)
    assert sentence in str(caught.value)


def test_tasks_give_demonstrations(tmp_path: Path) -> None:
    one, two = {"input": "1 2", "output": "3"}, {"input": None, "output": "4"}
    rows = [
        {"instruction": "Add", "instances": [one, two, one, {"input": "", "output": " "}], "id": "s"},
        {"instruction": " ", "instances": [one]},
    ]
    done = convert_file(jsonl(tmp_path / "s.jsonl", *rows))
    assert done.rows == [
        {"instruction": "Add", "input": "1 2", "output": "3"},
        {"instruction": "Add", "input": "", "output": "4"},
    ]
    assert (done.items, done.replies) == (2, 5)
    assert done.left_out == {"duplicate": 1, "empty, or without an instruction": 2}
    with pytest.raises(DataError, match=r'line 1: field "instances\[0\].output" is missing'):
        convert_file(jsonl(tmp_path / "s.jsonl", {"instruction": "Add", "instances": [{"input": "1"}]}))


def forest(count: int) -> list[Any]:
    return [{"prompt": ask(f"q{i}", say(f"a{i}", rank=0), say(f"b{i}", rank=1)), "message_tree_id": f"{i}"}
            for i in range(count)]  # fmt: skip


def first_prompts(rows: list[dict[str, Any]]) -> set[str]:
    return {row["prompt"][0]["content"].strip().casefold() for row in rows}


def test_the_split_is_by_first_prompt_and_by_seed(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "t.jsonl", *forest(20), {"prompt": ask(" Q3", say("c", rank=0), say("d", rank=1))})
    done = convert_file(file)
    held = []
    for seed in (0, 0, 1):
        train, validation = split_rows(done, 0.25, seed)
        assert len(first_prompts(validation)) == 5 and len(train) + len(validation) == 21
        assert not first_prompts(train) & first_prompts(validation)
        held.append(first_prompts(validation))
    assert held[0] == held[1] != held[2]
    assert first_prompts(split_rows(convert_file(file, "demonstrations"), 0.25, 0)[1]) == held[0]
    with pytest.raises(DataError, match="no row is left for training: 1 comparisons under 1 first prompts"):
        split_rows(convert_file(jsonl(file, *forest(1))), 0.5, 0)


def test_a_duplicate_tree_counts_once(tmp_path: Path) -> None:
    done = convert_file(jsonl(tmp_path / "t.jsonl", *forest(2), *forest(1)))
    assert (len(done.rows), done.items, done.replies) == (2, 3, 6)
    assert +done.left_out == {"in a duplicate tree": 2}


def rewritten(done: Conversion, path: Path) -> Path:
    return jsonl(path, *done.rows)


@needs_data
def test_open_assistant_has_732_pairs_and_the_longer_often_wins(tmp_path: Path) -> None:
    done = convert_file(DATA / "oasst_en_100_tree.jsonl")
    rankings = read_rankings(rewritten(done, tmp_path / "c.jsonl")).records
    assert len(rankings) == len(done.rows)
    pairs = [(one.responses[a], one.responses[b]) for one in rankings for a, b in one.pairs()]
    assert len(pairs) == 732
    assert sum(len(chosen) > len(rejected) for chosen, rejected in pairs) / 732 == pytest.approx(0.697, abs=0.0005)
    assert done.replies == sum(len(row["responses"]) for row in done.rows) + done.left_out.total()
    train, validation = split_rows(done, 0.1, 0)
    assert first_prompts(train) and first_prompts(validation)
    assert not first_prompts(train) & first_prompts(validation)


@needs_data
def test_public_demonstrations(tmp_path: Path) -> None:
    tasks = rewritten(convert_file(DATA / "seed_tasks.jsonl"), tmp_path / "s.jsonl")
    assert len(read_demonstrations(tasks).records) == 175
    done = convert_file(DATA / "oasst_en_100_tree.jsonl", "demonstrations")
    assert len(read_demonstrations(rewritten(done, tmp_path / "d.jsonl")).records) == len(done.rows)
    assert done.replies == len(done.rows) + done.left_out.total()


STRANGE: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 5, -0.5, float("nan"), "", "prompter", "assistant", "\ud800", [], {}, [[]], [3]]
)


def spots(value: Any) -> list[tuple[Any, Any]]:
    """Every place inside a JSON value, as a container and a key."""
    found, waiting = [], [value]
    while waiting:
        inner = waiting.pop()
        keys = list(inner) if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else []
        found += [(inner, key) for key in keys]
        waiting += [inner[key] for key in keys]
    return found


@given(st.data(), st.sampled_from([tree_rankings, tree_demonstrations]))
def test_a_changed_tree_gives_rows_or_one_sentence(data: st.DataObject, make: Any) -> None:
    tree = copy.deepcopy({"prompt": TREE, "message_tree_id": "t", "tree_state": "growing"})
    for _ in range(data.draw(st.integers(1, 3))):
        places = spots(tree)
        inner, key = places[data.draw(st.integers(0, len(places) - 1))]
        if isinstance(inner, dict) and data.draw(st.booleans()):
            del inner[key]
        else:
            inner[key] = copy.deepcopy(data.draw(STRANGE))
        if not spots(tree):
            break
    left_out: Counter[str] = Counter()
    try:
        turns = tree_messages(tree)
    except DataError:
        return
    used = sum(len(row.get("responses", "1")) for row in make(turns, left_out))
    assert used + left_out.total() == sum(turn.role == "assistant" for turn in turns)
