"""`sample`, `score`, `chat` and `eval` on a model of random weights."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine.checkpoint import save_model
from engine.heads import ScalarModel
from engine.pocket.judge import judge
from engine.pocket.requests import requests
from engine.randomness import generator
from engine.rundir import RunDir, write_text
from engine.tokenizer import train_tokenizer
from engine.transformer import Architecture, LanguageModel, initialise
from slmctl.comparison import side_by_side
from tests.cli.conftest import Cli
from tests.labelling import judged, stored

PROMPT = "What is the capital of France?"


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def run(home: Path) -> RunDir:
    """A run whose sft and ppo are policies, and whose rm is a reward model, of two layers each."""
    tokenizer = train_tokenizer([PROMPT, "The capital of France is Paris.", "Hello, how are you?"] * 5, 300)
    sizes = Architecture(tokenizer.size, width=16, layers=2, heads=2, kv_heads=1, head_width=8, ffn=32, context=64)
    run = RunDir(home / "tiny")
    write_text(run.run_toml, "schema = 1\n")
    models: dict[str, LanguageModel | ScalarModel] = {
        "sft": LanguageModel(sizes),
        "ppo": LanguageModel(sizes),
        "rm": ScalarModel(sizes, bias=0.25),
    }
    for stage, model in models.items():
        initialise(model, generator(0, stage))
        save_model(run.final(stage), model, tokenizer, {"stage": stage})
    return run


def test_sample_reads_rows_and_writes_rows(cli: Cli, run: RunDir) -> None:
    stdin = (
        json.dumps({"prompt": PROMPT}) + "\n\n" + json.dumps({"messages": [{"role": "user", "content": "Hi"}]}) + "\n"
    )
    outcome = cli("sample", "tiny:ppo", "--jsonl", "--max-new-tokens", "5", "--seed", "1", stdin=stdin)
    rows = [json.loads(line) for line in outcome.out.splitlines()]
    assert [row["prompt"] for row in rows] == [PROMPT, [{"role": "user", "content": "Hi"}]]
    assert all(set(row) == {"prompt", "response", "tokens", "finished"} for row in rows)
    assert all(1 <= row["tokens"] <= 5 for row in rows)
    again = cli("sample", "tiny:ppo", "--jsonl", "--max-new-tokens", "5", "--seed", "1", stdin=stdin)
    assert again.out == outcome.out
    assert cli("sample", "tiny:ppo", "--jsonl", "--max-new-tokens", "5", "--seed", "2", stdin=stdin).out != outcome.out


def test_sample_draws_several_and_greedy_ones_agree(cli: Cli, run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("Hi\nYo\n")
    words = ["sample", "tiny:sft", "--prompts", str(tmp_path / "p.txt"), "-n", "20", "--jsonl", "--max-new-tokens", "8"]
    greedy = [json.loads(line)["response"] for line in cli(*words, "--temperature", "0").out.splitlines()]
    assert len(greedy) == 40 and len(set(greedy[:20])) == 1
    drawn = [json.loads(line)["response"] for line in cli(*words).out.splitlines()]
    assert len(set(drawn[:20])) > 1


def test_samples_printed_for_people_are_clean(cli: Cli, run: RunDir) -> None:
    out = cli("sample", "tiny:sft", "--max-new-tokens", "40", stdin='{"prompt": "Hi"}\n' * 20).out
    assert not any(ord(mark) < 32 and mark != "\n" for mark in out)


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "sentence"),
    [
        (["tiny:pop"], "", 2, "did you mean 'ppo'"),
        (["tiny:base"], "", 3, "has not finished pretrain"),
        (["tiny:sft", "--temperature", "-1"], "", 2, "--temperature is -1.0; it must be 0 to"),
        (["tiny:sft", "--top-p", "1.5"], "", 2, "--top-p is 1.5"),
        (["tiny:sft", "--template", "chatml"], "", 2, "--template is 'chatml'"),
        (["tiny:sft", "--device", "abacus"], "", 2, "no device 'abacus'"),
        (["tiny:sft", "--dtype", "float16"], "", 2, "--dtype is 'float16'; it must be float32 or bfloat16"),
        (["tiny:sft"], "Hi\n", 3, "stdin, line 1: this is not JSON"),
        (["tiny:sft"], '{"question": "Hi"}\n', 3, "stdin, line 1: expected {prompt} or {messages}"),
        (
            ["tiny:sft"],
            json.dumps({"prompt": "word " * 99}),
            3,
            "no prompt leaves room for an answer: stdin, line 1 has",
        ),
        (["tiny:sft"], '{"prompt": " "}\n', 3, "stdin, line 1: the prompt is empty"),
        (["tiny:sft"], "", 3, "stdin is empty; sample reads rows {prompt}, one a line, or --prompts FILE"),
        (["tiny:sft"], "\n \n", 3, "stdin is empty"),
        (["tiny:sft", "-n", "0"], "", 2, "greater than or equal to 1"),
    ],
)
def test_sample_mistakes_are_sentences(
    cli: Cli, run: RunDir, arguments: list[str], stdin: str, code: int, sentence: str
) -> None:
    outcome = cli("sample", *arguments, stdin=stdin)
    assert (outcome.code, outcome.out) == (code, "")
    assert sentence in outcome.err and "Traceback" not in outcome.err


def test_score_adds_score_and_logit(cli: Cli, run: RunDir) -> None:
    rows = [{"prompt": PROMPT, "response": text, "id": text} for text in ("Paris.", "Rome.", "")]
    outcome = cli("score", "tiny:rm", "--jsonl", stdin="".join(json.dumps(row) + "\n" for row in rows))
    scored = [json.loads(line) for line in outcome.out.splitlines()]
    assert [row["id"] for row in scored] == ["Paris.", "Rome.", ""]
    for row in scored:
        assert row["logit"] - row["score"] == pytest.approx(0.25, abs=1e-6)


def test_scores_in_another_number_format_are_near_and_not_the_same(cli: Cli, run: RunDir) -> None:
    stdin = json.dumps({"prompt": PROMPT, "response": "Paris."})
    words = ("score", "tiny:rm", "--jsonl")
    exact, rough = (json.loads(cli(*words, *more, stdin=stdin).out)["score"] for more in ((), ("--dtype", "bfloat16")))
    assert exact != rough and rough == pytest.approx(exact, abs=0.1)


def test_the_judge_scores_from_outside(cli: Cli, home: Path) -> None:
    right, wrong = ({"prompt": PROMPT, "response": f"The capital of France is {city}."} for city in ("Paris", "Rome"))
    outcome = cli("score", "pocket:judge", "--jsonl", stdin=json.dumps(right) + "\n" + json.dumps(wrong) + "\n")
    first, second = (json.loads(line) for line in outcome.out.splitlines())
    assert first["score"] == judge(PROMPT, right["response"]).utility > second["score"]
    assert (first["correct"], second["correct"]) == (True, False)
    assert "logit" not in first
    plain = cli("score", "pocket:concise", stdin=json.dumps(right) + "\n")
    assert 0 <= float(plain.out) <= 1


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "sentence"),
    [
        (["pocket:judg"], "", 2, "did you mean 'judge'"),
        (["tiny:rm"], "", 3, "stdin is empty; score reads rows {prompt, response}, one a line"),
        (["tiny:rm"], '{"prompt": "Hi"}\n', 3, "stdin, line 1: response must be text and is missing"),
        (["tiny:sft"], '{"prompt": "Hi", "response": "Yo"}\n', 3, "is a policy, and a reward model is needed here"),
    ],
)
def test_score_mistakes_are_sentences(
    cli: Cli, run: RunDir, arguments: list[str], stdin: str, code: int, sentence: str
) -> None:
    outcome = cli("score", *arguments, stdin=stdin)
    assert (outcome.code, outcome.out) == (code, "")
    assert sentence in outcome.err


def test_chat_off_a_terminal_answers_each_line_by_each_policy(cli: Cli, run: RunDir) -> None:
    outcome = cli("chat", "tiny:sft", "tiny:ppo", "--max-new-tokens", "4", stdin="Hi\n\nHow are you?\n")
    assert (outcome.code, outcome.err) == (0, "")
    rows = [json.loads(line) for line in outcome.out.splitlines()]
    assert [(row["model"], row["prompt"]) for row in rows] == [
        ("tiny:sft", "Hi"), ("tiny:ppo", "Hi"), ("tiny:sft", "How are you?"), ("tiny:ppo", "How are you?"),
    ]  # fmt: skip


def test_chat_off_a_terminal_scores_and_takes_a_system_prompt(cli: Cli, run: RunDir) -> None:
    words = ("chat", "tiny:ppo", "--max-new-tokens", "4")
    [plain] = [json.loads(line) for line in cli(*words, stdin="Hi\n").out.splitlines()]
    [scored] = [json.loads(line) for line in cli(*words, "--reward", "pocket:judge", stdin="Hi\n").out.splitlines()]
    assert set(plain) == {"model", "prompt", "response", "tokens", "finished"}
    assert scored == {**plain, "score": pytest.approx(judge("Hi", plain["response"]).utility)}
    long = "Be kind. " * 20  # more than the model reads, so that it shows whether it is sent
    refused = cli(*words, "--system", long, stdin="Hi\n")
    assert refused.code == 2 and "a prompt has" in refused.err and "reads 1 to 63: 'Be kind. Be kind." in refused.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["a", "b", "c", "d", "e"], "5 models are too many"),
        ([], "name at least one model"),
        *[
            (["tiny:ppo", f"--{name}", "x"], f"--{name} is for the chat on a screen")
            for name in ("ref", "session", "db")
        ],
    ],
)
def test_chat_mistakes_are_sentences(cli: Cli, run: RunDir, words: list[str], sentence: str) -> None:
    outcome = cli("chat", *words, stdin="Hi\n")
    assert (outcome.code, outcome.out) == (2, "")
    assert sentence in outcome.err


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
        assert f"tiny:sft and {other} are the same checkpoint: whatever differs here is chance" in said.out
    assert json.loads(cli("eval", "tiny:sft", "tiny:sft", *more, "--json").out)["same_checkpoint"] is True
    assert json.loads(cli("eval", "tiny:sft", "tiny:ppo", *more, "--json").out)["same_checkpoint"] is False
    assert "same checkpoint" not in cli("eval", "tiny:sft", "tiny:ppo", *more).out


def test_eval_says_nothing_of_right_answers_where_no_prompt_has_one(cli: Cli, run: RunDir, tmp_path: Path) -> None:
    stored(tmp_path / "l.db", *[judged(prompt=request.text) for request in requests("test") if request.kind == "gift"])
    command = ("eval", "tiny:sft", "tiny:ppo", "--prompts", str(tmp_path / "l.db"), "-n", "3", "--max-new-tokens", "4")
    text = cli(*command).out
    assert "helpful" in text and "right answers" not in text and "nan" not in text
    assert not [name for name in json.loads(cli(*command, "--json").out) if name.startswith("correct")]


def row_of(text: str, title: str) -> list[float]:
    """The numbers in the row of this title."""
    (row,) = [line for line in text.splitlines() if line.startswith(f"{title}  ")]
    return [float(number) for number in re.findall(r"[-+]?\d+\.\d+", row)]


def test_eval_says_how_sure_a_difference_is_in_length_and_in_what_the_judge_says(cli: Cli, run: RunDir) -> None:
    command = ("eval", "tiny:sft", "tiny:ppo", "-n", "24", "--max-new-tokens", "30")
    result = json.loads(cli(*command, "--json").out)
    for name in ("tokens_a", "tokens_b", "tokens_difference"):
        assert result[f"{name}_low"] < result[name] < result[f"{name}_high"]
    assert result["tokens_difference"] == pytest.approx(result["tokens_b"] - result["tokens_a"])
    text = cli(*command).out
    for name, title in (("tokens", "tokens a response"), ("concise", "concise"), ("utility", "judge utility")):
        wanted = [result[f"{name}_{part}"] for part in ("a", "b", "difference", "difference_low", "difference_high")]
        assert row_of(text, title) == pytest.approx(wanted, abs=0.0005)


def test_one_prompt_gives_no_interval(cli: Cli, run: RunDir) -> None:
    command = ("eval", "tiny:sft", "tiny:ppo", "-n", "1", "--max-new-tokens", "4")
    assert json.loads(cli(*command, "--json").out)["tokens_difference_low"] is None
    assert "(too few for an interval)" in cli(*command).out


def test_the_difference_of_two_policies_is_taken_prompt_by_prompt() -> None:
    found = side_by_side("tokens", [10.0, 20.0, 30.0], [8.0, 18.0, 28.0])
    assert [found[f"tokens_difference{end}"] for end in ("", "_low", "_high")] == [-2.0, -2.0, -2.0]
    assert (found["tokens_a"], found["tokens_b"]) == (20.0, 18.0)
    assert found["tokens_a_high"] - found["tokens_a"] == pytest.approx(1.959964 * 10 / 3**0.5)


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
    assert refused.code == 2 and "need a --judge" in refused.err


def test_eval_asks_what_was_labelled(cli: Cli, run: RunDir) -> None:
    known = [judged(prompt=PROMPT), judged(prompt="What is the capital of Italy?"), judged(prompt=PROMPT)]
    stored(run.labels, *known)
    command = ("eval", "tiny:sft", "tiny:ppo", "--prompts", str(run.labels), "--max-new-tokens", "4", "--json")
    result = json.loads(cli(*command).out)
    assert (result["prompts"], result["judge"]) == (2, "pocket:judge"), "the world's judge knows the world's prompts"
    stored(run.labels, judged(prompt="Hi"))
    refused = cli(*command)
    assert refused.code == 2 and "need a --judge" in refused.err
    assert json.loads(cli(*command, "--judge", "tiny:rm").out)["prompts"] == 3


@pytest.mark.parametrize("command", [("sample", "tiny:sft"), ("eval", "tiny:sft", "tiny:ppo", "--judge", "tiny:rm")])
def test_prompts_that_are_too_long_are_left_out_and_counted(
    cli: Cli, run: RunDir, tmp_path: Path, command: tuple[str, ...]
) -> None:
    own = tmp_path / "own.txt"
    own.write_text("Hi\n" + "word " * 99 + "\nYo\n")
    found = cli(*command, "--prompts", str(own), "--max-new-tokens", "4")
    assert found.code == 0
    assert re.fullmatch(
        r"left out: 1 of 3 prompts, too long: \S+own.txt, line 2 has \d+ tokens, tiny:sft reads 1 to 63\n", found.err
    )
    assert "on 2 prompts" in found.out if command[0] == "eval" else len(found.out.split("\n")) >= 3
    own.write_text("word " * 99 + "\n")
    none = cli(*command, "--prompts", str(own))
    assert (none.code, none.out) == (3, "")
    assert none.err.startswith(f"slmctl: no prompt leaves room for an answer: {own}, line 1 has ")


def test_prompts_that_are_empty_are_left_out_and_counted(cli: Cli, run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text('{"prompt": "Hi"}\n{"prompt": " "}\n')
    found = cli("sample", "tiny:sft", "--prompts", str(tmp_path / "own.jsonl"), "--max-new-tokens", "4")
    assert (found.code, found.err) == (0, "left out: 1 of 2 prompts, empty\n")


def test_eval_counts_in_json_what_it_left_out(cli: Cli, run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("Hi\n" + ("word " * 99 + "\n") * 5)
    command = ("eval", "tiny:sft", "tiny:ppo", "--judge", "tiny:rm", "--prompts", str(tmp_path / "own.txt"), "--json")
    found = cli(*command, "--max-new-tokens", "4")
    assert {name: json.loads(found.out)[name] for name in ("prompts", "left_out")} == {"prompts": 1, "left_out": 5}
    assert found.err.startswith("left out: 5 of 6 prompts") and found.err.endswith("; ...\n")


def test_eval_mistakes_are_sentences(cli: Cli, run: RunDir) -> None:
    assert cli("eval", "tiny:sft", "other:ppo").code == 3
    nobody = cli("eval", "tiny:sft", "tiny:ppo", "--reward", "pocket:nobody")
    assert nobody.code == 2 and "nobody" in nobody.err
    many = cli("eval", "tiny:sft", "tiny:ppo", "-n", "1000000")
    assert many.code == 2 and "the test split has" in many.err


@pytest.mark.parametrize(
    ("make", "over_long", "sentence"),
    [
        (lambda words: {"prompt": "x" * words, "completion": "y"}, 1, "their responses that do not fit are left out"),
        (lambda words: {"prompt": "x", "chosen": "y", "rejected": "z" * words}, 1, "such rows are left out"),
        (lambda words: {"prompt": "x" * words}, 1, "such rows leave no room for a response"),
        (lambda words: {"text": "x" * words}, 0, "longer documents are cut into rows"),
    ],
)
def test_data_check_counts_rows_too_long_for_a_model(
    cli: Cli, run: RunDir, tmp_path: Path, make: Callable[[int], dict[str, str]], over_long: int, sentence: str
) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text("".join(json.dumps(make(words)) + "\n" for words in (1, 400)))
    report = json.loads(cli("data", "check", str(file), "--model", "tiny:rm", "--json").out)
    assert (report["model"], report["context"], report["over_long"]) == ("tiny:rm", 64, over_long)
    out = " ".join(cli("data", "check", str(file), "--model", "tiny:sft").out.split())
    assert f"too long {over_long} rows for the 64 tokens of tiny:sft; {sentence}" in out
    assert cli("data", "check", str(file), "--model", "tiny:base").code == 3
