"""A label database in place of a data file: its rows, its name in run.toml, and which of its labels are held out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.config import Config, RmConfig
from engine.core.errors import DataError, FileError, RunConflictError
from engine.data.files import RawRow, Source, is_labels, read_rows
from engine.data.labels.store import Label, LabelStore
from engine.data.readers import read_demonstrations, read_prompts, read_rankings, read_texts
from engine.data.records import Demonstration, Message, PromptRow, Ranking
from engine.data.survey import survey_source
from engine.run.sources import newest_held_out, rm_rankings
from engine.rundir.runtoml import Input
from tests.support.label_databases import judged, stored
from tests.support.planned_runs import ROWS, finish, plan, start
from tests.support.tiny import word_tokenizer

A, TIE, B = (0, 1), (0, 0), (1, 0)
EDIT = judged(ranks=None, verdict="edit", edited="better")


@pytest.mark.parametrize("name", ["labels.db", "labels.sqlite", "a.b.db"])
def test_rankings_are_comparisons_and_edits_are_demonstrations(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    stored(path, judged(), judged(ranks=None), EDIT, judged(ranks=TIE), judged(repeats=1))
    assert is_labels(str(path))
    assert list(read_rows(Source(str(path)), "comparisons")) == [
        RawRow(f"{path}, label 1", {"prompt": "Hi", "responses": ["a", "b"], "ranking": [0, 1]}),
        RawRow(f"{path}, label 4", {"prompt": "Hi", "responses": ["a", "b"], "ranking": [0, 0]}),
    ]
    assert read_rankings(path).records == [Ranking("Hi", ("a", "b"), A), Ranking("Hi", ("a", "b"), TIE)]
    assert read_demonstrations(path).records == [Demonstration("Hi", "better")]
    with pytest.raises(FileError, match="use it for comparisons, demonstrations or prompts"):
        read_texts(path)


def test_what_was_judged_are_prompts_each_once_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    stored(path, judged(prompt="skipped", ranks=None))
    with pytest.raises(DataError, match=r"has no prompts yet \(every label is a skip\)"):
        read_prompts(path)
    turns = (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Who?"))
    stored(path, judged(prompt="B"), judged(prompt=turns), judged(prompt="A", ranks=TIE), judged(prompt="B", repeats=2))
    assert read_prompts(path).records == [PromptRow("B"), PromptRow(turns), PromptRow("A")]
    assert read_prompts(Source(f"{path}@2")).records == [PromptRow("B")]
    assert next(read_rows(path, "prompts")).place == f"{path}, label 2"


def test_a_database_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    with LabelStore(path) as store:
        numbers = [store.add(judged(text)) for text in "xyz"]
        assert store.withdraw(numbers[0], "ann") == 4

    def winners(name: str) -> list[str]:
        return [ranking.responses[0] for ranking in read_rankings(Source(name)).records]

    assert winners(f"{path}") == winners(f"{path}@4") == winners(f"{path}@99") == ["y", "z"]
    assert winners(f"{path}@3") == ["x", "y", "z"] and winners(f"{path}@1") == ["x"]


def test_a_missing_kind_of_label_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    with LabelStore(path):
        pass
    with pytest.raises(DataError, match=r"labels\.db has no labels yet$"):
        read_rankings(path)
    stored(path, EDIT, judged(ranks=None))
    with pytest.raises(DataError, match=r"has no comparisons yet \(skipped 2: skip or edit, without a ranking\)"):
        survey_source(path, "comparisons")
    with pytest.raises(FileError, match=r"label database .*none\.db not found"):
        read_rankings(tmp_path / "none.db")
    (tmp_path / "text.db").write_text("no database" * 100)
    with pytest.raises(FileError, match="cannot use label database"):
        read_rankings(tmp_path / "text.db")


def data_of(home: Path, stage: str, **fields: Any) -> Input:
    return plan(home, stage, **fields).inputs(stage)["data"]


def test_a_stage_goes_on_with_the_labels_it_began_with(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    stored(path, judged(), judged(prompt="Ho"))
    given = {"data": str(path)}
    prepared = plan(tmp_path, "rm", inputs=given)
    first = prepared.inputs("rm")["data"]
    assert first.name == f"{path}@2" and len(first.sha256) == 64
    start(prepared.rundir, "pretrain", "sft", "rm")
    stored(path, judged(ranks=None), EDIT)  # what ranks nothing is no other data
    assert data_of(tmp_path, "rm", inputs=given).sha256 == first.sha256
    stored(path, judged(prompt="Hu"))
    with pytest.raises(RunConflictError, match=r"started rm with .*labels\.db@4, and now it is .*@5; use --run NEW"):
        plan(tmp_path, "rm", inputs=given)
    assert data_of(tmp_path, "rm") == replace(first, until=4)  # as far as it had got
    with LabelStore(path) as store:
        store.withdraw(1, "ann")
    assert data_of(tmp_path, "rm").sha256 == first.sha256
    path.unlink()
    stored(path, *[judged(prompt="Another")] * 4)
    with pytest.raises(RunConflictError, match=r"started rm with .*labels\.db@4, which has changed since"):
        plan(tmp_path, "rm")


def test_what_has_not_begun_takes_the_newest_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    stored(path, judged())
    run = plan(tmp_path, "rm", inputs={"data": str(path)}).rundir
    stored(path, judged(prompt="Ho"))
    assert data_of(tmp_path, "rm").name == f"{path}@2"
    finish(run, "pretrain", "sft", "rm")
    stored(path, judged(prompt="Hu"))
    assert data_of(tmp_path, "rm", run="b", parent="tiny", overrides={"rm.lr": "0.1"}).name == f"{path}@3"
    assert data_of(tmp_path, "rm", fresh=True).name == f"{path}@3"


def test_a_later_edit_does_not_hurt_what_builds_on_earlier_ones(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    stored(path, EDIT, judged())
    run = plan(tmp_path, "sft", inputs={"data": str(path)}).rundir
    start(run, "pretrain", "sft")
    stored(path, judged(prompt="Hu"))  # no other data to SFT, which reads edits alone
    assert plan(tmp_path, "sft", inputs={"data": str(path)}).inputs("sft")["data"].name == f"{path}@3"
    finish(run, "pretrain", "sft")
    stored(path, EDIT, judged(prompt="Ho"))
    prepared = plan(tmp_path, "rm", inputs={"data": str(path)})
    assert (prepared.inputs("sft")["data"].name, prepared.inputs("rm")["data"].name) == (f"{path}@3", f"{path}@5")
    assert prepared.inputs("sft")["data"].sha256 != prepared.inputs("rm")["data"].sha256


def held_out(path: Path, share: float = 0.15) -> tuple[list[Ranking], list[Ranking]]:
    """What is trained on and what is held out of a source."""
    config = Config(rm=RmConfig(validation_share=share))
    data = rm_rankings(config, read_rankings(path), None, word_tokenizer(), 1000)
    return data.train, data.validation


def of(prompt: str, **fields: Any) -> Label:
    return judged("red", "blue", prompt=prompt, **fields)


def test_the_newest_labels_are_held_out_by_whole_prompts(tmp_path: Path) -> None:
    prompts = [f"number {number}" for number in range(20)]
    stored(tmp_path / "labels.db", *map(of, prompts), of(prompts[3], ranks=B), of("tied", ranks=TIE))
    train, validation = held_out(tmp_path / "labels.db")  # 3 of 20 prompts
    assert [ranking.prompt for ranking in validation] == [prompts[3], prompts[18], prompts[19], prompts[3]]
    assert [ranking.prompt for ranking in train] == [*prompts[:3], *prompts[4:18]]


@pytest.mark.parametrize(("labels", "share", "held"), [(2, 0.01, 1), (2, 0.99, 1), (20, 0.08, 2), (20, 0.99, 19)])
def test_few_labels_are_split_into_training_and_held_out(tmp_path: Path, labels: int, share: float, held: int) -> None:
    stored(tmp_path / "labels.db", *[of(f"number {number}") for number in range(labels)])
    assert list(map(len, held_out(tmp_path / "labels.db", share))) == [labels - held, held]


@given(st.lists(st.sampled_from("abcdef"), min_size=2).filter(lambda drawn: len(set(drawn)) > 1), st.floats(0, 1))
def test_the_newest_labels_are_held_out(prompts: list[str], share: float) -> None:
    rankings = [Ranking(prompt, (f"{place}", ""), A) for place, prompt in enumerate(prompts)]
    train, validation = newest_held_out(rankings, share)
    assert sorted([*train, *validation], key=lambda one: int(one.responses[0])) == rankings and train and validation
    kept, held = ({one.prompt for one in side} for side in (train, validation))
    assert not kept & held
    newest = {one.prompt: int(one.responses[0]) for one in rankings}
    assert max(newest[prompt] for prompt in map(str, kept)) < min(newest[prompt] for prompt in map(str, held))
    assert len(held) == min(len(newest) - 1, max(1, round(len(newest) * share)))


def test_files_are_still_cut_at_random(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text("".join(ROWS[1:-1].replace('"a"', f'"{i}"') + "\n" for i in range(40)))
    assert [one.prompt for one in held_out(tmp_path / "c.jsonl", 0.1)[1]] != [f"{i}" for i in range(36, 40)]
