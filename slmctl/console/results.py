"""The result of a run or a stage, read from the run directory, as one object and as text."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.core.errors import FileError
from engine.core.events import EvalCompleted, Event, StageFinished
from engine.core.metrics import describe_any
from engine.rundir.directory import RunDir
from slmctl.console.printing import say
from slmctl.console.progress import duration
from slmctl.console.safe import clean, one_line
from slmctl.runs.launch import command_line

CURVE_LINES = 10
ROWS = (
    ("utility", "judge score"),
    ("helpful", "helpful"),
    ("honest", "honest"),
    ("harmless", "harmless"),
    ("courteous", "courteous"),
    ("concise", "concise"),
    ("correct", "correct answers"),
    ("win_rate", "win rate against SFT"),
    ("kl_nats", "KL from SFT, nats"),
    ("tokens", "tokens per response"),
    ("distinct_2", "distinct-2"),
    ("reward", "reward"),
)


def run_result(rundir: RunDir) -> dict[str, Any]:
    """The result of a finished run. Raises: FileError if it has none yet."""
    try:
        result = json.loads(rundir.result.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        again = command_line(("run", "--run", rundir.name))
        raise FileError(f"run {rundir.name!r} has no result yet; type: {again}") from error
    assert isinstance(result, dict), result
    return {**result, "run": rundir.name}  # the run may have been renamed


def stage_result(rundir: RunDir, stage: str) -> dict[str, Any]:
    """The result of a finished stage: the path of its model and its last metrics."""
    events = rundir.read_events()
    ended = [event for event in events if isinstance(event, StageFinished) and event.stage == stage]
    metrics = {name: value for name, value in ended[-1].metrics.items() if math.isfinite(value)} if ended else {}
    step = ended[-1].step if ended else None
    curve = bits_by_tokens(events) if stage == "pretrain" else []
    return {
        "run": rundir.name,
        "stage": stage,
        "path": str(rundir.finished(stage)),
        "step": step,
        "metrics": metrics,
        **({"curve": curve} if curve else {}),
    }


def bits_by_tokens(events: Sequence[Event]) -> list[dict[str, float]]:
    """Held-out bits per byte by the number of tokens seen."""
    names = ("pretrain/tokens", "pretrain/bits_per_byte")
    measured = [event.metrics for event in events if isinstance(event, EvalCompleted) and event.stage == "pretrain"]
    points = [[metrics.get(name, math.nan) for name in names] for metrics in measured]
    return [{"tokens": tokens, "bits_per_byte": bits} for tokens, bits in points if math.isfinite(tokens + bits)]


def finite(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result with null for infinite numbers and NaN, which JSON does not have."""
    bad = [name for name, value in result.items() if isinstance(value, float) and not math.isfinite(value)]
    return {**result, **dict.fromkeys(bad)}


def print_stage(result: Mapping[str, Any], rundir: RunDir, world: str) -> None:
    """Prints a stage's result and the next command, which needs --data if there is no world."""
    print(f"{result['stage']} of run {result['run']!r} is saved in {clean(result['path'])}")
    for name, value in result["metrics"].items():
        metric = describe_any(name)
        number = f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
        print(f"  {metric.title:<28} {number} {metric.unit}".rstrip())
    if "curve" in result:
        _print_curve(result["curve"])
    print(f"next: {_after_stage(result['stage'], rundir, world)}")


def _print_curve(points: Sequence[Mapping[str, float]]) -> None:
    """Prints about CURVE_LINES of the points, evenly spaced, including the last."""
    print("  tokens seen   held-out bits/byte")
    for point in points[:: -math.ceil(len(points) / CURVE_LINES)][::-1]:
        print(f"  {point['tokens']:>11,.0f}   {point['bits_per_byte']:.3f}")


def print_run(result: Mapping[str, Any], plain: bool, new: str) -> None:
    """Prints a run's table, its examples and the next commands; `new` is a name for another run."""
    console = Console(no_color=plain or None, highlight=False, soft_wrap=False)
    run = result["run"]
    following = (
        ("chat", f"{run}:sft", f"{run}:ppo"),
        ("ppo", "--run", new, "--from", run, "--set", "ppo.kl_coef=0.1"),
        ("eval", f"{run}:sft", f"{run}:ppo"),
    )
    console.print(comparison_table(result, plain))
    for line in summary_lines(result):
        say(line, console.file)
    if result.get("examples"):
        console.print(examples_table(result["examples"], plain))
    for mark, words in zip(("next:", "     ", "     "), following, strict=True):
        console.print(Text(f"{mark} {command_line(words)}"), soft_wrap=True)


def result_policies(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The policies of a result with their titles; n of best-of-n is the run's setting."""
    best = [name.removeprefix("utility_") for name in result if name.startswith("utility_best_of_")]
    return [("base", "base"), ("sft", "SFT"), *((name, name.replace("_", " ")) for name in best), ("ppo", "PPO")]


def comparison_table(result: Mapping[str, Any], plain: bool = False) -> Table:
    """Base, SFT, best-of-n and PPO side by side, a dash for what was not measured."""
    table = Table(box=box.ASCII if plain else box.SIMPLE_HEAD, title=None)
    table.add_column("")
    shown = result_policies(result)
    for _, title in shown:
        table.add_column(title, justify="right")
    for quantity, title in ROWS:
        cells = [_cell(result, quantity, policy) for policy, _ in shown]
        if any(cell != "-" for cell in cells):
            table.add_row(title, *cells)
    return table


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The sentences under the table."""
    lines = [
        f"PPO against SFT on {result['prompts']} test prompts: {result['wins']} wins, {result['ties']} ties, "
        f"{result['losses']} losses; win rate {result['win_rate']:.1%} "
        f"({result['win_rate_low']:.1%} to {result['win_rate_high']:.1%})"
    ]
    if (longer := result.get("tokens_difference")) is not None:
        low, high = (_number(result.get(f"tokens_difference_{end}")) for end in ("low", "high"))
        lines.append(f"response length, PPO - SFT: {longer:+.3f} tokens (95% interval {low} to {high})")
    names = ("accuracy", "ceiling", "longer_baseline", "correctness_accuracy", "calibration_error")
    right, ceiling, longer, correctness, error = (_number(result.get(f"rm_{name}")) for name in names)
    lines += [
        f"reward model accuracy on held-out pairs: {right} (ceiling {ceiling}, length baseline {longer})",
        f"reward model accuracy on correctness alone: {correctness}; calibration error {error}",
    ]
    if result.get("curve"):
        lines.append(_curve_line(result["curve"]))
    alerts = ", ".join(result["alerts"]) or "none"
    lines.append(
        f"alerts: {one_line(alerts)}; {result['parameters'] or 0:,} parameters; {duration(result['elapsed_s'])}, "
        f"{result['peak_rss_mb']:.0f} MB"
    )
    return lines


def _curve_line(curve: Sequence[Mapping[str, float]]) -> str:
    """How reward and judge score of PPO's samples changed, and the step with the best utility."""
    first, last, best = curve[0], curve[-1], max(curve, key=lambda point: point["utility"])
    return (
        f"during PPO: reward {first['reward']:.2f} to {last['reward']:.2f}, "
        f"judge score {first['utility']:.2f} to {last['utility']:.2f} "
        f"(best {best['utility']:.2f} at step {best['step']})"
    )


def examples_table(examples: Sequence[Mapping[str, str]], plain: bool = False) -> Table:
    """Prompts with the SFT and the PPO response side by side."""
    table = Table(box=box.ASCII if plain else box.SIMPLE_HEAD, show_lines=True)
    for title in ("prompt", "SFT", "PPO"):
        table.add_column(title, ratio=1, overflow="fold")
    for example in examples:
        table.add_row(*(Text(clean(str(example[name]))) for name in ("prompt", "sft", "ppo")))
    return table


def _cell(result: Mapping[str, Any], quantity: str, policy: str) -> str:
    if quantity == "win_rate":
        value = result.get({"ppo": "win_rate"}.get(policy, f"{policy}_win_rate"))
        return "-" if value is None else f"{value:.1%}"
    name = "kl_nats" if (quantity, policy) == ("kl_nats", "ppo") else f"{quantity}_{policy}"
    return _number(result.get(name))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _after_stage(stage: str, rundir: RunDir, world: str) -> str:
    run, following = rundir.name, {"pretrain": "sft", "sft": "rm", "comparisons": "rm", "rm": "ppo"}
    if stage not in following and rundir.finished("sft") is None:
        return command_line(("chat", f"{run}:ppo"))
    if stage not in following:
        return command_line(("eval" if world else "chat", f"{run}:sft", f"{run}:ppo"))
    data = () if world or stage == "rm" else ("--data", "FILE")
    return command_line((following[stage], "--run", run, *data))
