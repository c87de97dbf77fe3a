"""`eval` on models of random weights: who wins, by whom, on which prompts, and how sure that is."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from engine.pocket.prompts import all_requests
from engine.rundir.directory import RunDir
from tests.slmctl.conftest import Cli
from tests.support.label_databases import judged, stored
from tests.support.tiny_models import PROMPT, make_models


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def run(home: Path) -> RunDir:
    """A run of random models."""
    return make_models(home)


def test_eval_compares_two_policies(cli: Cli, run: RunDir) -> None:
    result = json.loads(cli("eval", "tiny:sft", "tiny:ppo", "-n", "24", "--max-new-tokens", "4", "--json").out)
    assert result["wins"] + result["ties"] + result["losses"] == result["prompts"] == 24
    assert 0 <= result["win_rate_low"] <= result["win_rate"] <= result["win_rate_high"] <= 1
    assert result["kl_nats"] is not None and result["tokens_a"] <= 4 and result["tokens_b"] <= 4
    same = json.loads(cli("eval", "tiny:sft", "tiny:sft", "-n", "24", "--max-new-tokens", "4", "--json").out)
    assert same["kl_nats"] == pytest.approx(0.0, abs=1e-5)
    assert result["kl_nats_low"] < result["kl_nats"] < result["kl_nats_high"]
    assert "reward_a" not in result
    text = cli("eval", "tiny:sft", "tiny:ppo", "-n", "24", "--max-new-tokens", "4").out
    assert "tiny:ppo against tiny:sft" in text and "win rate" in text and "KL of tiny:ppo from tiny:sft" in text


@pytest.mark.parametrize("reward", ["tiny:rm", "pocket:judge"])
def test_eval_shows_what_a_scorer_thinks_of_both(cli: Cli, run: RunDir, reward: str) -> None:
    command = ("eval", "tiny:sft", "tiny:ppo", "-n", "24", "--max-new-tokens", "4", "--reward", reward)
    result = json.loads(cli(*command, "--json").out)
    if reward == "pocket:judge":
        assert (result["reward_a"], result["reward_b"]) == pytest.approx((result["utility_a"], result["utility_b"]))
    shown = row_of(cli(*command).out, "reward")
    wanted = [result[f"reward_{name}"] for name in ("a", "b", "difference", "difference_low", "difference_high")]
    assert shown == pytest.approx(wanted, abs=0.0005)


def test_eval_says_where_both_are_one_checkpoint(cli: Cli, run: RunDir, tmp_path: Path) -> None:
    shutil.copytree(run.final("sft"), tmp_path / "copy")
    more = ("-n", "8", "--max-new-tokens", "4")
    for other in ("tiny:sft", str(run.final("sft")), str(tmp_path / "copy")):
        said = cli("eval", "tiny:sft", other, *more)
        assert said.code == 0
        assert f"tiny:sft and {other} are the same checkpoint; any difference is chance" in said.out
    assert json.loads(cli("eval", "tiny:sft", "tiny:sft", *more, "--json").out)["same_checkpoint"] is True
    assert json.loads(cli("eval", "tiny:sft", "tiny:ppo", *more, "--json").out)["same_checkpoint"] is False
    assert "same checkpoint" not in cli("eval", "tiny:sft", "tiny:ppo", *more).out


def test_eval_reports_no_correctness_without_answerable_prompts(cli: Cli, run: RunDir, tmp_path: Path) -> None:
    stored(
        tmp_path / "l.db", *[judged(prompt=request.text) for request in all_requests("test") if request.kind == "gift"]
    )
    command = ("eval", "tiny:sft", "tiny:ppo", "--prompts", str(tmp_path / "l.db"), "-n", "3", "--max-new-tokens", "4")
    text = cli(*command).out
    assert "helpful" in text and "correct answers" not in text and "nan" not in text
    assert not [name for name in json.loads(cli(*command, "--json").out) if name.startswith("correct")]


def row_of(text: str, title: str) -> list[float]:
    """The numbers in the row of this title."""
    (row,) = [line for line in text.splitlines() if line.startswith(f"{title}  ")]
    return [float(number) for number in re.findall(r"[-+]?\d+\.\d+", row)]


def test_eval_gives_intervals_for_length_and_judge_scores(cli: Cli, run: RunDir) -> None:
    command = ("eval", "tiny:sft", "tiny:ppo", "-n", "24", "--max-new-tokens", "30")
    result = json.loads(cli(*command, "--json").out)
    for name in ("tokens_a", "tokens_b", "tokens_difference"):
        assert result[f"{name}_low"] < result[name] < result[f"{name}_high"]
    assert result["tokens_difference"] == pytest.approx(result["tokens_b"] - result["tokens_a"])
    text = cli(*command).out
    for name, title in (("tokens", "tokens per response"), ("concise", "concise"), ("utility", "judge score")):
        wanted = [result[f"{name}_{part}"] for part in ("a", "b", "difference", "difference_low", "difference_high")]
        assert row_of(text, title) == pytest.approx(wanted, abs=0.0005)


def test_one_prompt_gives_no_interval(cli: Cli, run: RunDir) -> None:
    command = ("eval", "tiny:sft", "tiny:ppo", "-n", "1", "--max-new-tokens", "4")
    assert json.loads(cli(*command, "--json").out)["tokens_difference_low"] is None
    assert "(too few for an interval)" in cli(*command).out


@pytest.mark.parametrize("judged_by", ["pocket:concise", "tiny:rm", "shout.py:length"])
def test_eval_by_another_judge_on_prompts_of_ones_own(
    cli: Cli, run: RunDir, judged_by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shout.py").write_text("def length(prompts, responses):\n    return [len(one) for one in responses]\n")
    Path("own.txt").write_text("Hello?\nWho?\nWhy?\n")
    command = ("eval", "tiny:sft", "tiny:ppo", "--prompts", "own.txt", "--judge", judged_by, "--max-new-tokens", "6")
    result = json.loads(cli(*command, "--json").out)
    assert (result["prompts"], result["judge"]) == (3, judged_by)
    assert result["wins"] + result["ties"] + result["losses"] == 3
    assert "helpful_a" not in result
    assert (result["utility_a"] == result["utility_b"]) == (judged_by == "pocket:concise")  # who knows no such prompts
    assert f"(by {judged_by} on 2 prompts)" in cli(*command, "-n", "2").out
    refused = cli("eval", "tiny:sft", "tiny:ppo", "--prompts", "own.txt")
    assert refused.code == 2 and "needs --judge" in refused.err


def test_eval_asks_what_was_labeled(cli: Cli, run: RunDir) -> None:
    known = [judged(prompt=PROMPT), judged(prompt="What is the capital of Italy?"), judged(prompt=PROMPT)]
    stored(run.labels, *known)
    command = ("eval", "tiny:sft", "tiny:ppo", "--prompts", str(run.labels), "--max-new-tokens", "4", "--json")
    result = json.loads(cli(*command).out)
    assert (result["prompts"], result["judge"]) == (2, "pocket:judge"), "the world's judge knows the world's prompts"
    stored(run.labels, judged(prompt="Hi"))
    refused = cli(*command)
    assert refused.code == 2 and "needs --judge" in refused.err
    assert json.loads(cli(*command, "--judge", "tiny:rm").out)["prompts"] == 3


def test_eval_counts_in_json_what_it_left_out(cli: Cli, run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("Hi\n" + ("word " * 99 + "\n") * 5)
    command = ("eval", "tiny:sft", "tiny:ppo", "--judge", "tiny:rm", "--prompts", str(tmp_path / "own.txt"), "--json")
    found = cli(*command, "--max-new-tokens", "4")
    assert {name: json.loads(found.out)[name] for name in ("prompts", "left_out")} == {"prompts": 1, "left_out": 5}
    assert found.err.startswith("skipped 5 of 6 prompts") and found.err.endswith("; ...\n")


def test_eval_mistakes_are_sentences(cli: Cli, run: RunDir) -> None:
    assert cli("eval", "tiny:sft", "other:ppo").code == 3
    nobody = cli("eval", "tiny:sft", "tiny:ppo", "--reward", "pocket:nobody")
    assert nobody.code == 2 and "nobody" in nobody.err
    many = cli("eval", "tiny:sft", "tiny:ppo", "-n", "1000000")
    assert many.code == 2 and "the test split has" in many.err
