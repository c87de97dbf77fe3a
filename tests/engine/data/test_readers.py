"""Every format of rows, and every error with file, line and field."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.errors import ConfigError, DataError, FileError
from engine.data.files import RawRow, json_row
from engine.data.readers import (
    load_records,
    parse_exchange,
    parse_prompt,
    parse_row,
    parser_of,
    read_demonstrations,
    read_prompts,
    read_rankings,
    read_texts,
)
from engine.data.records import Demonstration, Message, PromptRow, Ranking, Text, prompt_text

USER, REPLY, OTHER = (
    {"role": role, "content": text} for role, text in (("user", "Hi"), ("assistant", "Yo"), ("assistant", "Go"))
)
BYE = {"role": "user", "content": "Bye"}
HI = (Message("user", "Hi"),)
TURNS = (*HI, Message("assistant", "Yo"), Message("user", "Bye"))


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("row", "record"),
    [
        ({"prompt": "Hi", "completion": "Yo"}, Demonstration("Hi", "Yo")),
        ({"prompt": [USER], "completion": [REPLY]}, Demonstration(HI, "Yo")),
        ({"messages": [USER, REPLY]}, Demonstration(HI, "Yo")),
        ({"messages": [USER, REPLY, BYE, OTHER]}, Demonstration(TURNS, "Go", all_turns=True)),
        ({"prompt": [USER, REPLY, BYE], "completion": "Go"}, Demonstration(TURNS, "Go")),
        ({"messages": None, "prompt": "Hi", "completion": "Yo"}, Demonstration("Hi", "Yo")),
        ({"instruction": "Hi", "input": None, "output": "Yo"}, Demonstration("Hi", "Yo")),
        ({"instruction": "Add", "input": "1 2", "output": "3"}, Demonstration("Add\n\n1 2", "3")),
        ({"instruction": "Hi", "input": "", "output": "Yo", "id": 7}, Demonstration("Hi", "Yo")),
        ({"instruction": "Hi", "output": "Yo"}, Demonstration("Hi", "Yo")),
    ],
)
def test_demonstrations(tmp_path: Path, row: Any, record: Demonstration) -> None:
    assert read_demonstrations(jsonl(tmp_path / "d.jsonl", row)).records == [record]


HH = "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Bye\n\nAssistant:"
HH_PROMPT = (Message("user", "Hi"), Message("assistant", "Yes?"), Message("user", "Bye"))


@pytest.mark.parametrize(
    ("row", "record"),
    [
        ({"prompt": "Hi", "chosen": "Yo", "rejected": "Go"}, Ranking("Hi", ("Yo", "Go"), (0, 1))),
        ({"prompt": [USER], "chosen": [REPLY], "rejected": [OTHER]}, Ranking(HI, ("Yo", "Go"), (0, 1))),
        ({"chosen": [USER, REPLY], "rejected": [USER, OTHER], "margin": 0.5}, Ranking(HI, ("Yo", "Go"), (0, 1))),
        ({"instruction": "Hi", "input": "", "chosen": "Yo", "rejected": "Go"}, Ranking("Hi", ("Yo", "Go"), (0, 1))),
        ({"chosen": HH + " Bye!", "rejected": HH + " Stay."}, Ranking(HH_PROMPT, ("Bye!", "Stay."), (0, 1))),
        (
            {"prompt": "Hi", "responses": ["a", "b", "c"], "ranking": [3, 1, 3]},
            Ranking("Hi", ("a", "b", "c"), (1, 0, 1)),
        ),
        ({"prompt": "Hi", "chosen": "Yo", "rejected": "Yo"}, Ranking("Hi", ("Yo", "Yo"), (0, 0))),
        ({"prompt": "Hi", "chosen": [USER, REPLY], "rejected": [USER, OTHER]}, Ranking("Hi", ("Yo", "Go"), (0, 1))),
        ({"prompt": [USER], "chosen": [USER, REPLY], "rejected": "Go"}, Ranking(HI, ("Yo", "Go"), (0, 1))),
        ({"prompt": "Hi", "responses": ["a", " ", "c"], "ranking": [3, 1, 2]}, Ranking("Hi", ("a", "c"), (1, 0))),
    ],
)
def test_comparisons(tmp_path: Path, row: Any, record: Ranking) -> None:
    assert read_rankings(jsonl(tmp_path / "c.jsonl", row)).records == [record]


def test_pairs_omit_ties_and_put_the_better_first() -> None:
    assert Ranking("p", ("a", "b", "c"), (1, 0, 1)).pairs() == [(1, 0), (1, 2)]
    assert Ranking("p", ("a", "b"), (0, 0)).pairs() == []
    assert len(Ranking("p", tuple("abcd"), (0, 1, 2, 3)).pairs()) == 6


def test_prompts(tmp_path: Path) -> None:
    rows = [{"prompt": "Hi"}, {"messages": [USER]}, {"messages": [USER, REPLY]}, {"instruction": "Hi", "input": "x"}]
    expected = [PromptRow("Hi"), PromptRow(HI), PromptRow(HI), PromptRow("Hi\n\nx")]
    assert read_prompts(jsonl(tmp_path / "p.jsonl", *rows)).records == expected
    (tmp_path / "p.txt").write_bytes(b"\xef\xbb\xbfHi\r\n\r\nHow are you?\r\n")
    assert read_prompts(tmp_path / "p.txt").records == [PromptRow("Hi"), PromptRow("How are you?")]


def test_texts(tmp_path: Path) -> None:
    assert read_texts(jsonl(tmp_path / "t.jsonl", {"text": "One."}, {"text": " "})).records == [Text("One.")]
    (tmp_path / "t.txt").write_text("One.\nTwo.\n\n\n\nThree.\n")
    assert read_texts(tmp_path / "t.txt").records == [Text("One.\nTwo."), Text("Three.")]


def test_a_json_file_is_a_list(tmp_path: Path) -> None:
    file = tmp_path / "d.json"
    file.write_text(json.dumps([{"prompt": "Hi", "completion": "Yo"}]))
    assert read_demonstrations(file).records == [Demonstration("Hi", "Yo")]


def test_line_separators_inside_a_row_do_not_split_it(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text('{"prompt": "a\u2028b\x85c", "completion": "Yo"}\n', encoding="utf-8")
    assert read_demonstrations(tmp_path / "d.jsonl").records == [Demonstration("a\u2028b\x85c", "Yo")]


def test_empty_rows_are_skipped_and_counted(tmp_path: Path) -> None:
    good = {"prompt": "Hi", "completion": "Yo"}
    file = jsonl(tmp_path / "d.jsonl", good, {"prompt": " ", "completion": "Yo"}, {"prompt": "Hi", "completion": "\n"})
    loaded = read_demonstrations(file)
    assert (loaded.records, loaded.empty) == ([Demonstration("Hi", "Yo")], 2)
    rankings = [{"prompt": "Hi", "responses": texts, "ranking": [1, 2]} for texts in (["a", "b"], ["a", "\t"])]
    ranked = read_rankings(jsonl(tmp_path / "c.jsonl", *rankings, {"prompt": "Hi", "chosen": "", "rejected": "b"}))
    assert (ranked.records, ranked.empty) == ([Ranking("Hi", ("a", "b"), (0, 1))], 2)


@pytest.mark.parametrize("no", [False, "false", "False"])
def test_a_demonstration_judged_bad_is_skipped_and_counted(tmp_path: Path, no: Any) -> None:
    rows = [{"prompt": "Hi", "completion": text, "label": label} for text, label in (("Yo", True), ("Go", no))]
    file = jsonl(tmp_path / "kto.jsonl", *rows, {"prompt": "Hi", "completion": "", "label": no})
    loaded = read_demonstrations(file)
    assert loaded.records == [Demonstration("Hi", "Yo")]
    assert loaded.left_out == {"empty": 1, "judged_bad": 1}
    named = {"prompt": "Hi", "completion": "Yo", "label": "greeting"}
    assert read_demonstrations(jsonl(tmp_path / "d.jsonl", named)).left_out == {"empty": 0}
    assert len(read_prompts(file).records) == 3, "what was asked is the same"
    with pytest.raises(DataError, match=r"no usable row \(skipped 1: 0 empty, 1 judged_bad\)"):
        read_demonstrations(jsonl(tmp_path / "none.jsonl", rows[1]))


def test_contradicting_annotators_give_two_rankings(tmp_path: Path) -> None:
    rows = [{"prompt": "Hi", "chosen": a, "rejected": b, "annotator": b} for a, b in ("xy", "yx", "xy")]
    read = read_rankings(jsonl(tmp_path / "c.jsonl", *rows)).records
    assert [ranking.responses for ranking in read] == [("x", "y"), ("y", "x"), ("x", "y")]


BAD_ROWS: list[tuple[str, Any, str]] = [
    (
        "demonstrations",
        {"prompt": "Hi"},
        "expected {prompt, completion}, {messages} or {instruction, input, output} (found",
    ),
    ("demonstrations", {"prompt": 3, "completion": "Yo"}, "prompt must be a string, got 3"),
    ("demonstrations", {"instruction": "Hi"}, 'field "output" is missing'),
    ("demonstrations", {"messages": [USER]}, "messages: the last message must be from the assistant"),
    (
        "demonstrations",
        {"messages": [USER, {"role": "bot", "content": ""}]},
        "messages[1].role must be one of system, user, assistant",
    ),
    ("demonstrations", {"messages": [USER, {"role": "assistant"}]}, 'field "messages[1].content" is missing'),
    ("demonstrations", {"messages": []}, "messages must be a list of {role, content}, got []"),
    (
        "demonstrations",
        {"prompt": "Hi", "completion": [USER]},
        "completion: the last message must be from the assistant, got 'user'",
    ),
    ("demonstrations", ["Hi"], "expected an object with named fields, got ['Hi']"),
    ("comparisons", {"prompt": "Hi", "chosen": "Yo"}, "expected chosen and rejected, or responses and ranking"),
    ("comparisons", {"prompt": "Hi", "chosen": "Yo", "rejected": None}, "expected chosen and rejected"),
    ("comparisons", {"chosen": "Yo", "rejectd": "Go"}, '(found: chosen, rejectd); did you mean "rejected"?'),
    ("comparisons", {"prompt": "Hi", "chosen": "Yo", "rejected": 7}, "rejected must be a string, got 7"),
    (
        "comparisons",
        {"prompt": "Hi", "chosen": [USER, REPLY], "rejected": [BYE, OTHER]},
        "rejected answers a different prompt",
    ),
    ("comparisons", {"prompt": [USER], "chosen": [BYE, REPLY], "rejected": "Go"}, "chosen answers a different prompt"),
    ("comparisons", {"prompt": "Hi", "chosen": "a", "rejected": "b", "margin": "big"}, "margin must be a number"),
    ("comparisons", {"prompt": "Hi", "responses": ["a"], "ranking": [1]}, "responses must be a list of at least two"),
    ("comparisons", {"prompt": "Hi", "responses": ["a", "b"], "ranking": [1]}, "ranking must be a list of 2 numbers"),
    (
        "comparisons",
        {"prompt": "Hi", "responses": ["a", "b"], "ranking": [1, True]},
        "ranking must be a list of 2 numbers",
    ),
    ("comparisons", {"prompt": "Hi", "responses": ["a", 2], "ranking": [1, 2]}, "responses[1] must be a string, got 2"),
    ("comparisons", {"chosen": "Yo", "rejected": "Go"}, "expected a prompt, or transcripts"),
    (
        "comparisons",
        {"chosen": HH + " a", "rejected": HH.replace("Bye", "Stay") + " b"},
        "share everything but the last answer",
    ),
    ("comparisons", {"chosen": [USER, REPLY], "rejected": [REPLY, OTHER]}, "share all messages but the last"),
    ("prompts", {"question": "Hi"}, "expected {prompt} or {messages} (found: question)"),
    ("text", {"prompt": "Hi"}, 'field "text" is missing'),
    ("text", {"text": "\ud800"}, "half of a surrogate pair"),
]


@pytest.mark.parametrize(("kind", "row", "sentence"), BAD_ROWS)
def test_a_bad_row_names_file_line_field_and_what_was_expected(
    tmp_path: Path, kind: str, row: Any, sentence: str
) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text("\n" + json.dumps(row) + "\n")
    with pytest.raises(DataError) as caught:
        load_records(file, kind, parser_of(kind))
    assert str(caught.value).startswith(f"{file}, line 2: ")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.jsonl", b'{"prompt": "Hi", "completion": "Yo"}\n{"prompt": \n', "line 2: not valid JSON"),
        ("a.jsonl", b'{"prompt": "Hi"}\n{"prompt": "\xff"}\n', "line 2: not valid UTF-8 (byte 0xff)"),
        ("a.json", b'[\n{"prompt": }\n]', "line 2: not valid JSON"),
        ("a.json", b'{"prompt": "Hi"}\n{"prompt": "Hi"}\n', "rename the file to .jsonl if it has one object per line"),
        ("a.json", b'{"prompt": "Hi"}', "expected a list of rows, [{...}, ...], got an object"),
        ("a.json", b"[" * 100_000, "JSON"),
        ("a.jsonl", b"\n", "a.jsonl is empty"),
        ("a.jsonl", b'{"prompt": "", "completion": ""}', "has no usable row (skipped 1: 1 empty)"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_demonstrations(file)
    assert sentence in str(caught.value) and str(file) in str(caught.value)


def test_the_row_of_a_json_file_is_named_by_its_number(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('[{"prompt": "Hi", "completion": "Yo"},\n\n {"prompt": "Hi"}]')
    with pytest.raises(DataError, match=r"a\.json, row 2: "):
        read_demonstrations(file)


def test_missing_files_and_other_types(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"file .*none\.json not found"):
        read_demonstrations(tmp_path / "none.json")
    (tmp_path / "a.xml").write_text("prompt\n")
    (tmp_path / "a.txt").write_text("Hi\n")
    for name in ("a.xml", "a.txt"):
        with pytest.raises(
            FileError, match=r"has an unsupported type; use \.jsonl, \.json, \.csv, \.parquet, optionally with"
        ):
            read_demonstrations(tmp_path / name)


def test_single_rows_for_scripts() -> None:
    assert parse_prompt(json_row("stdin, line 1", '{"prompt": "Hi"}')) == "Hi"
    assert parse_exchange(RawRow("x", {"prompt": "Hi", "response": ""})) == Demonstration("Hi", "")
    with pytest.raises(DataError, match='stdin, line 4: field "response" is missing'):
        parse_exchange(RawRow("stdin, line 4", {"prompt": "Hi"}))
    with pytest.raises(DataError, match="stdin, line 1: not valid JSON"):
        parse_prompt(json_row("stdin, line 1", "Hi"))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown kind of data 'labels'"):
        parser_of("labels")


def test_the_text_of_a_conversation_is_its_last_user_turn() -> None:
    assert prompt_text("Hi") == "Hi"
    assert prompt_text(HH_PROMPT) == "Bye"
    assert prompt_text((Message("system", "Be kind."),)) == "Be kind."


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["prompt", "messages", "chosen", "rejected", "responses", "ranking", "text", "role"]), inner
        )
    ),
    max_leaves=8,
)


@given(JSON, st.sampled_from(["demonstrations", "comparisons", "prompts", "text"]))
def test_any_json_row_is_read_or_refused(value: Any, kind: str) -> None:
    try:
        parse_row(RawRow("here", value), parser_of(kind))
    except DataError as error:
        assert str(error).startswith("here: ")
