"""What a labeling session is opened with: whose prompts are asked, where labels go, who scores."""

import json
from pathlib import Path

import pytest

from engine.core.errors import ConfigError, FileError
from engine.pocket.prompts import all_requests
from engine.run.planning import RunRequest, prepare
from engine.rundir.directory import RunDir
from slmctl.label.setup import GUIDELINES, POCKET_PROMPTS, LabelOptions, finished_policies, login_name, resolve_setup

ENVIRON = {"OMP_NUM_THREADS": "1"}


def make(home: Path, name: str, request: RunRequest | None = None) -> RunDir:
    """A run whose sft, rm and ppo are finished."""
    run = prepare(request or RunRequest("run", run=name), home, ENVIRON).rundir
    for stage in ("sft", "rm", "ppo"):
        run.final(stage).mkdir(parents=True)
    return run


def test_a_pocket_run_uses_its_train_split_and_reward_model(tmp_path: Path) -> None:
    run = make(tmp_path, "tiny")
    setup = resolve_setup(LabelOptions(("tiny:sft",)), tmp_path)
    assert len(set(setup.prompts)) == POCKET_PROMPTS
    assert set(setup.prompts) <= {request.text for request in all_requests("train")}
    assert setup.prompts == resolve_setup(LabelOptions(("tiny:sft",)), tmp_path).prompts
    assert setup.prompts != resolve_setup(LabelOptions(("tiny:ppo",)), tmp_path).prompts, (
        "a new round begins with others"
    )
    assert setup.prompts != resolve_setup(LabelOptions(("tiny:sft",), seed=1), tmp_path).prompts
    assert (setup.recipe.scorer, setup.database) == ("tiny:rm", run.path / "labels.db")
    assert (setup.annotator, setup.guidelines) == (login_name(), GUIDELINES)
    assert setup.recipe.sampling == {"temperature": 1.0, "max_new_tokens": 40}


def test_what_was_typed_comes_first(tmp_path: Path) -> None:
    make(tmp_path, "tiny")
    (tmp_path / "asked.jsonl").write_text('{"question": "why?"}\n{"question": "how?"}\n{"question": "why?"}\n')
    (tmp_path / "rules.txt").write_text("be short")
    options = LabelOptions(
        ("tiny:sft",),
        prompts=str(tmp_path / "asked.jsonl"),
        map=("prompt=question",),
        db=str(tmp_path / "mine.db"),
        annotator="ann",
        scorer="none",
        guidelines=str(tmp_path / "rules.txt"),
        sampling={"temperature": 0.5},
    )
    setup = resolve_setup(options, tmp_path)
    assert sorted(map(str, setup.prompts)) == ["how?", "why?"], "each once"
    assert (setup.recipe.scorer, setup.database) == ("", tmp_path / "mine.db")
    assert (setup.annotator, setup.guidelines) == ("ann", "be short")
    assert setup.recipe.sampling == {"temperature": 0.5, "max_new_tokens": 40}


def test_a_run_on_a_persons_files_is_asked_their_prompts(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{number}", "completion": "c"} for number in range(5)]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    make(tmp_path, "mine", RunRequest("sft", run="mine", inputs={"data": str(data)}))
    assert sorted(map(str, resolve_setup(LabelOptions(("mine:sft",)), tmp_path).prompts)) == [
        "p0",
        "p1",
        "p2",
        "p3",
        "p4",
    ]
    (tmp_path / "ask.txt").write_text("first\nsecond\n")
    make(tmp_path, "other", RunRequest("ppo", run="other", inputs={"prompts": str(tmp_path / "ask.txt")}))
    assert sorted(map(str, resolve_setup(LabelOptions(("other:ppo",)), tmp_path).prompts)) == ["first", "second"]


def test_a_model_by_its_path_labels_into_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "ask.txt").write_text("once\nupon\n")
    setup = resolve_setup(LabelOptions((str(tmp_path / "model"),), prompts="ask.txt"), tmp_path)
    assert (setup.database, setup.recipe.scorer) == (Path("labels.db"), "")
    with pytest.raises(ConfigError, match=r"no prompts for .*; pass a file"):
        resolve_setup(LabelOptions((str(tmp_path / "model"),)), tmp_path)


@pytest.mark.parametrize("db", ["labels.jsonl", "labels", "labels.db@7"])
def test_labels_go_where_commands_find_them(tmp_path: Path, db: str) -> None:
    make(tmp_path, "tiny")
    with pytest.raises(ConfigError, match=r"ends in \.db"):
        resolve_setup(LabelOptions(("tiny:sft",), db=db), tmp_path)


def test_guidelines_that_are_no_text(tmp_path: Path) -> None:
    make(tmp_path, "tiny")
    (tmp_path / "bad").write_bytes(b"\xff\xfe")
    with pytest.raises(FileError, match="--guidelines: cannot read"):
        resolve_setup(LabelOptions(("tiny:sft",), guidelines=str(tmp_path / "bad")), tmp_path)


def test_there_are_the_policies_of_all_runs(tmp_path: Path) -> None:
    make(tmp_path, "b")
    make(tmp_path, "a")
    assert finished_policies(tmp_path) == ["a:ppo", "a:sft", "b:ppo", "b:sft"]
    assert finished_policies(tmp_path / "nothing") == []
