"""How a person names a model."""

import json
from pathlib import Path

import pytest

from engine.core.errors import CheckpointError, ConfigError, FileError
from engine.rundir.directory import RunDir, check_name, write_text
from engine.rundir.references import is_pocket, resolve_policy, resolve_reference, resolve_scorer, run_and_place


@pytest.fixture
def home(tmp_path: Path) -> Path:
    run = RunDir(tmp_path / "tiny")
    write_text(run.run_toml, "schema = 2\n")
    for stage in ("pretrain", "ppo"):
        run.final(stage).mkdir(parents=True)
    run.step_dir("ppo", 20).mkdir()
    return tmp_path


def test_forms_that_are_understood(home: Path) -> None:
    run = RunDir(home / "tiny")
    assert resolve_reference("tiny:ppo", home) == run.final("ppo")
    assert resolve_reference("tiny:base", home) == resolve_reference("tiny:pretrain", home) == run.final("pretrain")
    assert resolve_reference("tiny:ppo@20", home) == run.step_dir("ppo", 20)
    assert resolve_reference(str(run.final("ppo")), home) == run.final("ppo")
    assert is_pocket("pocket:judge") and not is_pocket("tiny:rm")


@pytest.mark.parametrize(
    ("reference", "kind", "sentence"),
    [
        ("tiny:sft", CheckpointError, "has not finished sft yet; type: slmctl sft --run tiny"),
        ("tiny:ppo@30", CheckpointError, r"no ppo checkpoint of step 30 \(steps: 20\)"),
        ("tiny:ppo@last", CheckpointError, "no ppo checkpoint of step last"),
        ("tiny:pop", ConfigError, "did you mean 'ppo'"),
        ("other:ppo", FileError, "no run named 'other'"),
        ("tiny", CheckpointError, "model directory tiny not found; for a model of that run, write tiny:ppo"),
        ("/none/such", CheckpointError, "model directory /none/such not found"),
        ("hf:name", ConfigError, "not a hub model; write hf:ORG/NAME"),
        ("model.gguf", CheckpointError, "is a GGUF file, which cannot be opened; pass the Hugging Face directory"),
    ],
)
def test_what_is_not_there_is_a_sentence(home: Path, reference: str, kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        resolve_reference(reference, home)


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("tiny:ppo@20", ("tiny", "ppo@20")),
        ("hf:org/name", None),
        ("hf:name", None),
        ("pocket:judge", None),
        ("mine.py:short", None),
        ("some/folder:ppo", None),
        ("tiny", None),
    ],
)
def test_what_names_a_model_of_a_run(reference: str, parts: tuple[str, str] | None) -> None:
    assert run_and_place(reference) == parts


@pytest.mark.parametrize("name", ["hf", "pocket"])
def test_no_run_is_called_as_something_else_begins(name: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}' is not a valid run name"):
        check_name(name)


def test_a_run_made_from_another_opens_its_stages(home: Path) -> None:
    write_text(
        home / "round2" / "run.toml",
        'schema = 2\n[shared.ppo]\nrun = "tiny"\npath = "../tiny/ppo/final"\nsha256 = ""\n',
    )
    assert resolve_reference("round2:ppo", home) == (home / "tiny" / "ppo" / "final").resolve()


def test_of_a_run_that_is_damaged_it_is_told_how(home: Path) -> None:
    write_text(home / "torn" / "run.toml", "schema = ")
    with pytest.raises(FileError, match=r"cannot read \S+/torn/run.toml: Invalid value"):
        resolve_reference("torn:ppo", home)


def test_a_model_that_scores_is_told_from_one_that_answers(home: Path) -> None:
    run = RunDir(home / "tiny")
    for stage, kind in (("ppo", "LlamaForCausalLM"), ("rm", "LlamaForSequenceClassification")):
        run.final(stage).mkdir(parents=True, exist_ok=True)
        (run.final(stage) / "config.json").write_text(json.dumps({"architectures": [kind]}))
    assert resolve_policy("tiny:ppo", home) == run.final("ppo")
    assert resolve_scorer("tiny:rm", home) == run.final("rm")
    with pytest.raises(CheckpointError, match=r"tiny:rm is a reward model, .*; pass a policy, such as tiny:sft$"):
        resolve_policy("tiny:rm", home)
    with pytest.raises(CheckpointError, match=r"/rm/final is a reward model, .*; pass a policy$"):
        resolve_policy(str(run.final("rm")), home)
    with pytest.raises(CheckpointError, match=r"tiny:ppo is a policy, .*; pass a reward model"):
        resolve_scorer("tiny:ppo", home)


@pytest.mark.parametrize("config", ["", "[]", "{}", '{"architectures": null}', '{"architectures": [7]}'])
def test_what_a_model_does_not_say_is_told_when_it_is_opened(home: Path, config: str) -> None:
    (RunDir(home / "tiny").final("ppo") / "config.json").write_text(config)
    assert resolve_policy("tiny:ppo", home) == resolve_scorer("tiny:ppo", home)
