"""`run` and the stage commands: what they ask of the engine, what they print, how they end."""

import json
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.core.errors import DivergedError, EngineError
from engine.core.events import (
    AlertRaised,
    EvalCompleted,
    Event,
    RunFinished,
    RunPaused,
    StageFinished,
    StageStarted,
    StepCompleted,
)
from engine.run.planning import Prepared
from engine.rundir.directory import STAGES, RunDir, write_text
from slmctl.cli import main
from slmctl.console.results import ROWS
from tests.slmctl.conftest import Cli, Script, driver_of

Install = Callable[[Script], None]
RESULT = {
    "run": "tiny", "seed": 0, "parameters": 853_000, "prompts": 500, "wins": 400, "ties": 20, "losses": 80,
    "win_rate": 0.82, "win_rate_low": 0.784, "win_rate_high": 0.851, "best_of_4_win_rate": 0.7, "kl_nats": 2.0,
    "rm_accuracy": 0.76, "rm_ceiling": 0.82, "rm_longer_baseline": 0.52, "rm_correctness_accuracy": 0.75,
    "utility_base": 0.3, "utility_sft": 0.6, "utility_best_of_8": 0.7, "utility_ppo": 0.8,
    "tokens_difference": 0.5, "tokens_difference_low": -0.25, "tokens_difference_high": 1.25,
    "distinct_2_sft": 0.5, "alerts": ["kl"], "elapsed_s": 312.0, "peak_rss_mb": 900.0,
    "examples": [{"prompt": "Say \x1b]0;hacked\x07 hi", "sft": "[bold]Hi[/nope]", "ppo": "Hello!"}],
}  # fmt: skip


def whole(prepared: Prepared, _stop: Callable[[], bool]) -> Iterator[Event]:
    """An engine that does every stage in two steps."""
    run = prepared.rundir
    for stage in prepared.stages:
        events: list[Event] = [
            StageStarted(stage, 2, {"prompts": 10}, 1.0),
            StepCompleted(stage, 1, {f"{stage}/loss": 2.0}, 2.0),
            StepCompleted(stage, 2, {f"{stage}/loss": 1.0}, 3.0),
            StageFinished(stage, 2, {f"{stage}/loss": 1.0}, 4.0),
        ]
        for event in events:
            run.append(event)
            yield event
        run.final(stage).mkdir(parents=True)
    if "eval" in prepared.stages:
        write_text(run.result, json.dumps(RESULT))
    run.append(RunFinished(prepared.last, 5.0))


def test_a_run_prints_its_table_examples_and_what_to_type_next(cli: Cli, engine_says: Install, home: Path) -> None:
    engine_says(whole)
    outcome = cli("run", "--preset", "tiny")
    assert outcome.code == 0
    for words in (
        "judge score",
        "best of 8",
        "0.800",
        "82.0%",
        "78.4% to 85.1%",
        "response length, PPO - SFT: +0.500 tokens (95% interval -0.250 to 1.250)",
        "alerts: kl",
        "5:12 min",
        "slmctl chat tiny:sft tiny:ppo",
    ):
        assert words in outcome.out
    assert "[bold]Hi[/nope]" in outcome.out
    assert "\x1b" not in outcome.out + outcome.err
    assert "ppo: finished" in outcome.err
    assert RunDir(home / "tiny").exists()


def test_the_base_models_end_tells_bits_a_byte_by_tokens_seen(cli: Cli, engine_says: Install, tmp_path: Path) -> None:
    measured = [{"pretrain/tokens": 1000.0 * n, "pretrain/bits_per_byte": 4 - n / 10} for n in range(1, 13)]

    def trained(prepared: Prepared, stop: Callable[[], bool]) -> Iterator[Event]:
        for n, metrics in enumerate(measured):
            prepared.rundir.append(EvalCompleted("pretrain", n, metrics, 1.0))
        yield from whole(prepared, stop)

    engine_says(trained)
    (tmp_path / "texts.txt").write_text("One.\n\nTwo.\n")
    typed = ("pretrain", "--preset", "slm-25m", "--data", str(tmp_path / "texts.txt"), "--quiet")
    lines = cli(*typed).out.splitlines()
    assert [line.split() for line in lines[-7:-1]] == [[f"{2 * n},000", f"{4 - n / 5:.3f}"] for n in range(1, 7)], (
        "every second of twelve, the last among them"
    )
    assert lines[-1] == "next: slmctl sft --run slm-25m --data FILE"
    curve = json.loads(cli(*typed, "--json").out)["curve"]
    assert [tuple(point.values()) for point in curve] == [tuple(point.values()) for point in measured]
    assert "curve" not in json.loads(cli("sft", "--preset", "tiny", "--json", "--quiet").out)


def test_json_is_one_object_on_stdout_and_nothing_else(cli: Cli, engine_says: Install) -> None:
    engine_says(whole)
    outcome = cli("run", "--preset", "tiny", "--json", "--quiet")
    assert json.loads(outcome.out) == RESULT
    assert outcome.err == ""


def test_who_stops_reading_does_not_stop_the_run(home: Path) -> None:
    script = "from tests.slmctl.commands.test_run_stages import run_with_script; run_with_script()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        plan = f"run 'tiny' in {home / 'tiny'}: {', '.join(STAGES)}\n"
        assert (process.wait(60), process.stderr.read()) == (0, plan)
    assert RunDir(home / "tiny").result.exists()


def run_with_script() -> None:
    """`slmctl run --jsonl` as a process of its own, its engine the script `whole`."""
    module = types.ModuleType("engine.run.driver")
    vars(module)["execute"] = driver_of(whole)
    sys.modules["engine.run.driver"] = module
    sys.argv = ["slmctl", "run", "--preset", "tiny", "--jsonl"]
    main()


def test_jsonl_is_the_stream_of_events(cli: Cli, engine_says: Install) -> None:
    engine_says(whole)
    rows = [json.loads(line) for line in cli("run", "--jsonl", "--quiet").out.splitlines()]
    assert [row["stage"] for row in rows if row["event"] == "StageStarted"] == list(STAGES)
    assert rows[-1] == {"event": "Result", "result": RESULT}
    assert [json.loads(line) for line in cli("run", "--jsonl", "--quiet").out.splitlines()] == rows[-1:]


def test_a_finished_run_is_printed_again_without_the_engine(cli: Cli, engine_says: Install) -> None:
    engine_says(whole)
    cli("run")
    engine_says(lambda prepared, stop: pytest.fail("the engine was asked"))
    outcome = cli("run", "--preset", "tiny", "--json")
    assert json.loads(outcome.out) == RESULT
    assert "run is already finished\n" in outcome.err
    again = cli("run", "--preset", "tiny", "--max-steps", "3").err
    assert "run is already finished; --max-steps has no effect on it\n" in again


def test_a_stage_makes_its_parents_and_says_so(cli: Cli, engine_says: Install) -> None:
    engine_says(whole)
    outcome = cli("rm", "--preset", "tiny")
    assert outcome.code == 0
    assert "rm needs pretrain, sft, comparisons first, which this command runs, too" in outcome.err
    assert "next: slmctl ppo --run tiny" in outcome.out
    assert "  loss " in outcome.out and " nats/pair\n" in outcome.out


def test_a_run_begins_with_its_plan_and_counts_its_stages(
    cli: Cli, engine_says: Install, home: Path, tmp_path: Path
) -> None:
    engine_says(whole)
    assert cli("rm").err.splitlines()[0] == f"run 'tiny' in {home / 'tiny'}: pretrain, sft, comparisons, rm"
    (tmp_path / "p.txt").write_text("Hi\nHo\n")
    plan = cli("ppo", "--run", "b", "--from", "tiny", "--prompts", str(tmp_path / "p.txt")).err.splitlines()
    assert plan[:3] == [
        f"run 'b' in {home / 'b'}: ppo",
        "shared with run 'tiny': pretrain, sft, comparisons, rm",
        f"ppo: --prompts {tmp_path / 'p.txt'} (2 rows)",
    ]
    again = cli("rm", "--fresh").err.splitlines()
    assert again[1] == "--fresh deletes: rm" and again[2].startswith("rm: 2 steps")
    assert "1/2 ppo: 2 steps" in (err := cli("run").err) and "2/2 eval: 2 steps" in err


def test_what_to_type_next_names_a_run_that_is_not_there_yet(cli: Cli, engine_says: Install, home: Path) -> None:
    engine_says(whole)
    assert "slmctl ppo --run tiny-2 --from tiny --set" in cli("run").out
    (home / "tiny-2").mkdir()
    assert "slmctl ppo --run tiny-3 --from tiny --set" in cli("run").out


def test_what_to_type_next_quotes_the_name_of_a_run(cli: Cli, engine_says: Install) -> None:
    engine_says(whole)
    assert "next: slmctl ppo --run 'my run'\n" in cli("rm", "--run", "my run").out
    assert "next: slmctl eval 'my run:sft' 'my run:ppo'\n" in cli("ppo", "--run", "my run").out
    assert "slmctl ppo --run 'my run-2' --from 'my run' " in cli("run", "--run", "my run").out
    changed = cli("sft", "--run", "my run", "--set", "sft.lr=0.5")
    assert (
        changed.code == 2 and "--from 'my run' " in changed.err and "slmctl sft --run 'my run' --fresh" in changed.err
    )


def test_after_own_data_the_next_stage_needs_own_data(cli: Cli, engine_says: Install, tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    file.write_text("".join(json.dumps({"prompt": text, "completion": "b"}) + "\n" for text in "ab"))
    engine_says(whole)
    assert "next: slmctl rm --run tiny --data FILE\n" in cli("sft", "--data", str(file)).out
    assert "next: slmctl chat tiny:sft tiny:ppo\n" in cli("ppo").out


def test_what_was_given_before_is_said_and_can_be_forgotten(cli: Cli, engine_says: Install, tmp_path: Path) -> None:
    def failing(_prepared: Prepared, _stop: Callable[[], bool]) -> Iterator[Event]:
        raise EngineError("it failed")
        yield

    engine_says(failing)
    first = cli("ppo", "--reward", "pocket:judge", "--max-steps", "3")
    assert first.code == 1 and "earlier" not in first.err
    again = cli("ppo").err
    assert "reusing --reward pocket:judge from an earlier command; pass --reward none to clear it" in again
    assert "reusing --max-steps 3 from an earlier command; pass --max-steps 0 to clear it" in again
    assert "earlier" not in cli("ppo", "--reward", "none", "--max-steps", "0").err
    assert "earlier" not in cli("ppo").err


def test_a_stage_result_as_json(cli: Cli, engine_says: Install, home: Path) -> None:
    engine_says(whole)
    result = json.loads(cli("sft", "--json", "--quiet").out)
    assert result == {
        "run": "tiny", "stage": "sft", "path": str(home / "tiny" / "sft" / "final"), "step": 2,
        "metrics": {"sft/loss": 1.0},
    }  # fmt: skip


def test_every_option_reaches_the_request(cli: Cli, engine_says: Install, home: Path, tmp_path: Path) -> None:
    seen: list[Prepared] = []

    def spy(prepared: Prepared, _stop: Callable[[], bool]) -> Iterator[Event]:
        seen.append(prepared)
        return whole(prepared, _stop)

    engine_says(spy)
    prompts = tmp_path / "p.txt"
    prompts.write_text("Hi\n")
    for name in "ab":
        write_text(home / name / "run.toml", "schema = 2\n")
        write_text(RunDir(home / name).final("sft") / "config.json", "{}")
    options = (
        "--run mine --seed 3 --device cpu --dtype float32 --threads 2 --max-steps 4 --template none "
        f"--set ppo.kl_coef=0.2 --set ppo.steps=9 --prompts {prompts} --reward pocket:judge "
        "--init a:sft --ref b:sft --plain"
    )
    assert cli("ppo", *options.split()).code == 0
    config = seen[0].config
    assert (config.seed, config.device, config.dtype, config.threads, config.max_steps) == (3, "cpu", "float32", 2, 4)
    assert (config.template, config.ppo.kl_coef, config.ppo.steps) == ("none", 0.2, 9)
    inputs = seen[0].inputs("ppo")
    assert tuple(inputs[option].reference for option in ("reward", "init", "ref", "prompts")) == (
        "pocket:judge",
        "a:sft",
        "b:sft",
        str(prompts),
    )
    assert (seen[0].rundir.path, seen[0].stages) == (home / "mine", ("ppo",))


def test_threads_are_set_before_the_engine_is_called(cli: Cli, engine_says: Install) -> None:
    def check(prepared: Prepared, _stop: Callable[[], bool]) -> Iterator[Event]:
        assert (os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"]) == ("3", "active")
        return whole(prepared, _stop)

    engine_says(check)
    assert cli("run", "--threads", "3").code == 0


def test_a_conflict_is_exit_2_with_the_ways_on(cli: Cli, engine_says: Install) -> None:
    engine_says(whole)
    cli("sft")
    outcome = cli("sft", "--seed", "4")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: run 'tiny' has started pretrain with seed = 0, and now it is 4 (from --seed)")
    assert "--run NEW --from tiny" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["run", "--preset", "tinny"], 2, "did you mean 'tiny'"),
        (["run", "--set", "ppo.kl=1"], 2, "did you mean"),
        (["run", "--set", "ppo.kl_coef"], 2, "--set expects name=value"),
        (["run", "--from", "tiny"], 2, "name it with --run NEW"),
        (["run", "--run", "../up"], 2, "is not a valid run name"),
        (["sft", "--data", "none.json"], 3, "file none.json"),
        (["ppo", "--run", "b", "--from", "none"], 3, "no run named 'none'"),
    ],
)
def test_a_persons_mistake_is_one_sentence(cli: Cli, arguments: list[str], code: int, sentence: str) -> None:
    outcome = cli(*arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert sentence in outcome.err
    assert outcome.err.count("\n") == 1


def test_divergence_is_exit_4(cli: Cli, engine_says: Install) -> None:
    def diverge(_prepared: Prepared, _stop: Callable[[], bool]) -> Iterator[Event]:
        yield StageStarted("rm", 5, {}, 1.0)
        raise DivergedError("the loss of rm became nan at step 3; the last good checkpoint is kept")

    engine_says(diverge)
    outcome = cli("rm")
    assert outcome.code == 4
    assert outcome.err.splitlines()[-1].startswith("error: the loss of rm became nan")


def test_a_bug_is_exit_70_with_the_traceback_in_the_runs_log(cli: Cli, engine_says: Install, home: Path) -> None:
    def break_down(_prepared: Prepared, _stop: Callable[[], bool]) -> Iterator[Event]:
        raise ZeroDivisionError("B is 0")
        yield  # a generator, as the real one

    engine_says(break_down)
    outcome = cli("run")
    assert outcome.code == 70
    assert "internal error: ZeroDivisionError('B is 0')" in outcome.err
    assert "Traceback" not in outcome.err
    kept = Path(outcome.err.rsplit("traceback in ", 1)[1].strip().rstrip(")"))
    assert kept == RunDir(home / "tiny").log
    assert "ZeroDivisionError" in kept.read_text()
    assert "slmctl" in kept.read_text()


def test_ctrl_c_asks_the_engine_to_stop_and_exits_130(cli: Cli, engine_says: Install) -> None:
    def stopped(_prepared: Prepared, stop: Callable[[], bool]) -> Iterator[Event]:
        yield StageStarted("sft", 9, {}, 1.0)
        assert not stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        yield RunPaused("sft", 4, "by a signal", 2.0)

    engine_says(stopped)
    outcome = cli("sft")
    assert outcome.code == 130
    assert "sft: stopped after step 4, by a signal\n" in outcome.err
    assert "rerun the same command to resume" in outcome.err


def test_alerts_are_heard_even_when_quiet(cli: Cli, engine_says: Install) -> None:
    def alerting(prepared: Prepared, stop: Callable[[], bool]) -> Iterator[Event]:
        yield AlertRaised("ppo", 3, "kl", "KL is 12 nats, above 10", 1.0)
        yield from whole(prepared, stop)

    engine_says(alerting)
    assert cli("run", "--quiet").err == "alert at ppo step 3: KL is 12 nats, above 10\n"


def test_every_row_of_the_table_appears_where_it_was_measured(cli: Cli, engine_says: Install) -> None:
    full: dict[str, Any] = dict(RESULT)
    for quantity, _ in ROWS:
        for player in ("base", "sft", "best_of_8", "ppo"):
            full[f"{quantity}_{player}"] = 0.5

    def measured(prepared: Prepared, stop: Callable[[], bool]) -> Iterator[Event]:
        yield from whole(prepared, stop)
        write_text(prepared.rundir.result, json.dumps(full))

    engine_says(measured)
    out = cli("run", "--plain").out
    assert all(title in out for _, title in ROWS)
