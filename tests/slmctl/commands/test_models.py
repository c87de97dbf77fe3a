"""`sample`, `score` and `chat` on models of random weights, and what all commands do with prompts of one's own."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine.pocket.judge import judge
from engine.rundir.directory import RunDir
from tests.slmctl.conftest import Cli
from tests.support.tiny_models import PROMPT, make_models


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def run(home: Path) -> RunDir:
    """A run of random models."""
    return make_models(home)


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
        (["tiny:sft", "--template", "chatml"], "", 2, "template is 'chatml'"),
        (["tiny:sft", "--device", "abacus"], "", 2, "device 'abacus' is not available"),
        (["tiny:sft", "--dtype", "float16"], "", 2, "dtype is 'float16'; it must be float32 or bfloat16"),
        (["tiny:sft"], "Hi\n", 3, "stdin, line 1: not valid JSON"),
        (["tiny:sft"], '{"question": "Hi"}\n', 3, "stdin, line 1: expected {prompt} or {messages}"),
        (
            ["tiny:sft"],
            json.dumps({"prompt": "word " * 99}),
            3,
            "no prompt leaves room for a response: stdin, line 1 has",
        ),
        (["tiny:sft"], '{"prompt": " "}\n', 3, "stdin, line 1: the prompt is empty"),
        (["tiny:sft"], "", 3, "stdin is empty; sample reads rows {prompt}, one per line, or --prompts FILE"),
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


def test_scores_in_another_dtype_are_close_but_not_equal(cli: Cli, run: RunDir) -> None:
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
        (["tiny:rm"], "", 3, "stdin is empty; score reads rows {prompt, response}, one per line"),
        (["tiny:rm"], '{"prompt": "Hi"}\n', 3, 'stdin, line 1: field "response" is missing'),
        (
            ["tiny:sft"],
            '{"prompt": "Hi", "response": "Yo"}\n',
            3,
            "is a policy, which cannot score responses; pass a reward model",
        ),
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
            (["tiny:ppo", f"--{name}", "x"], f"--{name} applies only to the chat in the playground")
            for name in ("ref", "session", "db")
        ],
    ],
)
def test_chat_mistakes_are_sentences(cli: Cli, run: RunDir, words: list[str], sentence: str) -> None:
    outcome = cli("chat", *words, stdin="Hi\n")
    assert (outcome.code, outcome.out) == (2, "")
    assert sentence in outcome.err


@pytest.mark.parametrize("command", [("sample", "tiny:sft"), ("eval", "tiny:sft", "tiny:ppo", "--judge", "tiny:rm")])
def test_prompts_that_are_too_long_are_left_out_and_counted(
    cli: Cli, run: RunDir, tmp_path: Path, command: tuple[str, ...]
) -> None:
    own = tmp_path / "own.txt"
    own.write_text("Hi\n" + "word " * 99 + "\nYo\n")
    found = cli(*command, "--prompts", str(own), "--max-new-tokens", "4")
    assert found.code == 0
    assert re.fullmatch(
        r"skipped 1 of 3 prompts: too long: \S+own.txt, line 2 has \d+ tokens, tiny:sft reads 1 to 63\n", found.err
    )
    assert "on 2 prompts" in found.out if command[0] == "eval" else len(found.out.split("\n")) >= 3
    own.write_text("word " * 99 + "\n")
    none = cli(*command, "--prompts", str(own))
    assert (none.code, none.out) == (3, "")
    assert none.err.startswith(f"error: no prompt leaves room for a response: {own}, line 1 has ")


def test_prompts_that_are_empty_are_left_out_and_counted(cli: Cli, run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text('{"prompt": "Hi"}\n{"prompt": " "}\n')
    found = cli("sample", "tiny:sft", "--prompts", str(tmp_path / "own.jsonl"), "--max-new-tokens", "4")
    assert (found.code, found.err) == (0, "skipped 1 of 2 prompts: empty\n")


@pytest.mark.parametrize(
    ("make", "too_long", "sentence"),
    [
        (lambda words: {"prompt": "x" * words, "completion": "y"}, 1, "responses that do not fit are skipped"),
        (lambda words: {"prompt": "x", "chosen": "y", "rejected": "z" * words}, 1, "such rows are skipped"),
        (lambda words: {"prompt": "x" * words}, 1, "such rows leave no room for a response"),
        (lambda words: {"text": "x" * words}, 0, "longer documents are split into several rows"),
    ],
)
def test_data_check_counts_rows_too_long_for_a_model(
    cli: Cli, run: RunDir, tmp_path: Path, make: Callable[[int], dict[str, str]], too_long: int, sentence: str
) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text("".join(json.dumps(make(words)) + "\n" for words in (1, 400)))
    report = json.loads(cli("data", "check", str(file), "--model", "tiny:rm", "--json").out)
    assert (report["model"], report["context"], report["too_long"]) == ("tiny:rm", 64, too_long)
    out = " ".join(cli("data", "check", str(file), "--model", "tiny:sft").out.split())
    assert f"too long {too_long} rows for the 64 tokens of tiny:sft; {sentence}" in out
    assert cli("data", "check", str(file), "--model", "tiny:base").code == 3
