"""Labels as rows: each form by hand, and read again by our own readers and by `datasets`."""

import json
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.errors import ConfigError
from engine.data.datasets import dataset_rows
from engine.data.labels.export import (
    BOTH_BAD,
    FORMATS,
    NO_TRANSCRIPT,
    REPEAT,
    SAME,
    TIED,
    UNEDITED,
    UNRANKED,
    WITHDRAWN,
    export_rows,
)
from engine.data.labels.store import Candidate, Label, Labels
from engine.data.readers import read_demonstrations, read_rankings
from engine.data.records import Demonstration, Message, Prompt, Ranking
from tests.support.label_databases import judged

A, TIE, B = (0, 1), (0, 0), (1, 0)
TALK = (Message("user", "Hi"), Message("assistant", "Ho"), Message("user", "Hu"))
TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}, {"role": "user", "content": "Hu"}]
EDIT = judged(ranks=None, verdict="edit", edited="better")
THREE = replace(judged(verdict="ranking"), candidates=tuple(map(Candidate, "xyz")), ranks=(1, 0, 1))


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def rows_of(form: str, *labels: Label, annotators: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    numbered = [replace(one, id=number) for number, one in enumerate(labels, start=1)]
    return [row for _, row in export_rows(Labels(numbered, []), form, annotators).rows]


def reasons(form: str, *labels: Label) -> list[str]:
    return list(export_rows(Labels(list(labels), []), form).left_out)


def test_pairs_for_trl() -> None:
    assert rows_of("trl", judged(ranks=B), THREE, judged(ranks=TIE)) == [
        {"prompt": "Hi", "chosen": "b", "rejected": "a"},
        {"prompt": "Hi", "chosen": "y", "rejected": "x"},
        {"prompt": "Hi", "chosen": "y", "rejected": "z"},
    ]
    assert rows_of("trl", judged(prompt=TALK)) == [{"prompt": TURNS, "chosen": said("a"), "rejected": said("b")}]
    both = rows_of("trl", judged(prompt=TALK), judged())  # one file is of one kind
    assert both[1] == {"prompt": [TURNS[0]], "chosen": said("a"), "rejected": said("b")}


def test_transcripts() -> None:
    start = "\n\nHuman: Hi\n\nAssistant:"
    assert rows_of("hh", judged()) == [{"chosen": start + " a", "rejected": start + " b"}]
    start += " Ho\n\nHuman: Hu\n\nAssistant:"
    assert rows_of("hh", judged(prompt=TALK)) == [{"chosen": start + " a", "rejected": start + " b"}]


@pytest.mark.parametrize(
    "label",
    [judged(prompt=(Message("system", "Be"), *TALK)), judged(prompt=TALK[1:]), judged("a\n\nHuman: b"),
     judged(prompt="x\n\nAssistant: y")],
)  # fmt: skip
def test_what_no_transcript_can_hold(label: Label) -> None:
    assert (rows_of("hh", label), reasons("hh", label)) == ([], [NO_TRANSCRIPT])


def test_what_is_good_and_bad_for_kto() -> None:
    bad, talk = judged(ranks=TIE, verdict="both_bad"), judged(prompt=TALK)
    found = [(row["prompt"], row["completion"], row["label"]) for row in rows_of("kto", judged(ranks=B), bad)]
    assert found == [("Hi", "a", False), ("Hi", "b", True), ("Hi", "a", False), ("Hi", "b", False)]
    four = replace(THREE, candidates=tuple(map(Candidate, "wxyz")), ranks=(0, 1, 2, 2))
    assert [(row["completion"], row["label"]) for row in rows_of("kto", four)] == [
        ("w", True),
        ("y", False),
        ("z", False),
    ]
    assert rows_of("kto", talk)[0] == {"prompt": TURNS, "completion": said("a"), "label": True}


def test_edits_for_sft() -> None:
    again = replace(EDIT, repeats=1, prompt=TALK)
    assert rows_of("sft", judged(), EDIT, judged(edited="also")) == [
        {"prompt": "Hi", "completion": "better"},
        {"prompt": "Hi", "completion": "also"},
    ]
    assert rows_of("sft", judged(), again) == [{"prompt": TURNS, "completion": said("better")}]


def test_rankings_are_exported_unchanged() -> None:
    plain = {"strength": 1, "flagged": False, "note": ""}
    marked: dict[str, Any] = {"strength": 2, "flagged": True, "note": "rude"}
    assert rows_of("rankings", judged(ranks=TIE, prompt=TALK), replace(THREE, **marked)) == [
        {"prompt": TURNS, "responses": ["a", "b"], "ranking": [0, 0], **plain},
        {"prompt": "Hi", "responses": ["x", "y", "z"], "ranking": [1, 0, 1], **marked},
    ]


def test_what_is_left_out_is_counted_by_reason() -> None:
    standing = [
        judged(id=1),
        judged(id=2, repeats=1),
        judged(id=3, ranks=None),
        judged(id=4, ranks=TIE),
        judged(id=5, annotator="bob", repeats=99),  # the pair that it repeats was taken back
        judged(id=6, repeats=3),  # and this one was skipped
        replace(EDIT, id=7, repeats=1),
        judged(" a", "a", id=8),
        judged(ranks=TIE, verdict="both_bad", id=9),
    ]
    labels = Labels(standing, [judged(id=99), judged(id=100, annotator="bob")])
    done = export_rows(labels, "trl")
    assert [number for number, _ in done.rows] == [1, 5, 6]
    assert done.left_out == {WITHDRAWN: 2, REPEAT: 1, UNRANKED: 2, TIED: 1, BOTH_BAD: 1, SAME: 1}
    assert export_rows(labels, "sft").left_out == {WITHDRAWN: 2, UNEDITED: 8}
    done = export_rows(labels, "trl", ["bob"])
    assert ([number for number, _ in done.rows], done.left_out) == ([5], {WITHDRAWN: 1})
    with pytest.raises(
        ConfigError, match=r"no labels by annotator 'bop'; did you mean 'bob'\? \(annotators: ann, bob\)"
    ):
        export_rows(labels, "trl", ["bop"])
    with pytest.raises(ConfigError, match=r"unknown format 'tlr'; did you mean 'trl'\? \(formats: trl, hh, kto, sft, "):
        export_rows(labels, "tlr")


WORDS = st.text(max_size=12) | st.sampled_from(["\u2028", "a\0", "\n\nHuman:", " x "])
TALKS = st.lists(st.builds(Message, st.sampled_from(["user", "assistant", "system"]), WORDS), min_size=1, max_size=3)


def counted(rankings: list[Ranking], stripped: bool) -> Counter[object]:
    """The pairs with a preference in these rankings, as readers count them: none with an empty part."""

    def shape(prompt: Prompt) -> tuple[Message, ...]:
        turns = (Message("user", prompt),) if isinstance(prompt, str) else prompt
        return tuple(Message(turn.role, turn.content.strip() if stripped else turn.content) for turn in turns)

    found: Counter[object] = Counter()
    for one in rankings:
        for pair in one.pairs():
            texts = [one.responses[i] for i in pair]
            turns = shape(one.prompt)
            key = (turns, *(text.strip() if stripped else text for text in texts))
            full = all(text.strip() for text in texts) and any(turn.content.strip() for turn in turns)
            found[key] += full and texts[0].strip() != texts[1].strip()
    return +found


@given(
    st.lists(
        st.builds(
            lambda prompt, texts, ranks, edited: replace(
                judged(prompt=prompt, verdict="ranking", edited=edited),
                candidates=tuple(map(Candidate, texts)),
                ranks=tuple(ranks[: len(texts)]),
            ),
            WORDS | TALKS.map(tuple),
            st.lists(WORDS, min_size=2, max_size=3),
            st.lists(st.integers(0, 2), min_size=3, max_size=3),
            st.none() | WORDS,
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=60)
def test_our_readers_read_what_was_written(made: list[Label]) -> None:
    fixed = judged("kept", "lost", prompt="always", edited="there")  # a file of empty rows alone is refused
    rankings = [one.ranking for one in [*made, fixed] if one.ranking is not None]
    with tempfile.TemporaryDirectory() as folder:
        for form in FORMATS:
            path = Path(folder) / f"{form}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows_of(form, *made, fixed)))
            if form in ("trl", "rankings"):
                assert counted(read_rankings(path).records, False) == counted(rankings, False)
            elif form == "hh":
                held = [one.ranking for one in [*made, fixed] if one.ranking and rows_of("hh", one)]
                assert counted(read_rankings(path).records, True) == counted(held, True)
            elif form == "sft":
                shown = [one.edited for one in [*made, fixed] if one.edited and one.edited.strip()]
                assert {row.response for row in read_demonstrations(path).records} <= set(shown)


def test_an_edit_is_a_demonstration_of_its_last_turn_alone(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text(json.dumps(rows_of("sft", replace(EDIT, prompt=TALK))[0]))
    assert read_demonstrations(tmp_path / "d.jsonl").records == [Demonstration(TALK, "better")]


@pytest.mark.parametrize("form", FORMATS)
def test_datasets_reads_a_file_of_texts_and_conversations(tmp_path: Path, form: str) -> None:
    made = [judged(prompt=TALK, edited="e"), judged(edited="\u2028\0"), replace(THREE, edited="f")]
    rows = rows_of(form, *(made if form != "rankings" else made[1:]))
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert list(dataset_rows(str(tmp_path))) == rows
