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
from engine.rundir.directory import RunDir
from slmctl.console.printing import say
from slmctl.console.progress import duration
from slmctl.console.safe import clean, one_line
from slmctl.runs.launch import command_line

CURVE_LINES = 10
ROWS = (
    ("utility", "judge utility"),
    ("helpful", "helpful"),
    ("honest", "honest"),
    ("harmless", "harmless"),
    ("courteous", "courteous"),
    ("concise", "concise"),
    ("correct", "right answers"),
    ("win_rate", "wins against SFT"),
    ("kl_nats", "KL to SFT, nats"),
    ("tokens", "tokens a response"),
    ("distinct_2", "distinct-2"),
    ("reward", "reward"),
)


def run_result(rundir: RunDir) -> dict[str, Any]:
    """The object that a finished run ends with.

    Raises: FileError where the run has no result yet.
    """
    try:
        result = json.loads(rundir.result.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        again = command_line(("run", "--run", rundir.name))
        raise FileError(f"run {rundir.name!r} has no result yet; type: {again}") from error
    assert isinstance(result, dict), result
    return {**result, "run": rundir.name}  # the run may have been renamed


def stage_result(rundir: RunDir, stage: str) -> dict[str, Any]:
    """What is known of a finished stage: where its model lies and the metrics it ended with."""
    said = rundir.read_events()
    ended = [event for event in said if isinstance(event, StageFinished) and event.stage == stage]
    metrics = {name: value for name, value in ended[-1].metrics.items() if math.isfinite(value)} if ended else {}
    step = ended[-1].step if ended else None
    curve = bits_by_tokens(said) if stage == "pretrain" else []
    return {
        "run": rundir.name,
        "stage": stage,
        "path": str(rundir.finished(stage)),
        "step": step,
        "metrics": metrics,
        **({"curve": curve} if curve else {}),
    }


def bits_by_tokens(events: Sequence[Event]) -> list[dict[str, float]]:
    """Bits a byte of held-out text, and the tokens that the base model had learnt from by then."""
    names = ("pretrain/tokens", "pretrain/bits_per_byte")
    measured = [event.metrics for event in events if isinstance(event, EvalCompleted) and event.stage == "pretrain"]
    points = [[metrics.get(name, math.nan) for name in names] for metrics in measured]
    return [{"tokens": tokens, "bits_per_byte": bits} for tokens, bits in points if math.isfinite(tokens + bits)]


def finite(result: Mapping[str, Any]) -> dict[str, Any]:
    """The same with null in place of numbers that JSON has no word for."""
    bad = [name for name, value in result.items() if isinstance(value, float) and not math.isfinite(value)]
    return {**result, **dict.fromkeys(bad)}


def print_stage(result: Mapping[str, Any], rundir: RunDir, world: str) -> None:
    """Prints a stage's result and what to type next; without a world, as with data of one's own, that needs data."""
    print(f"{result['stage']} of run {result['run']!r} is in {clean(result['path'])}")
    for name, value in result["metrics"].items():
        print(f"  {name:<28} {value:,.0f}" if value >= 1000 else f"  {name:<28} {value:.4g}")
    if "curve" in result:
        _print_curve(result["curve"])
    print(f"next: {_after_stage(result['stage'], rundir, world)}")


def _print_curve(points: Sequence[Mapping[str, float]]) -> None:
    """Prints about CURVE_LINES of the points, evenly spaced, the last among them."""
    print("  tokens seen   bits a byte of held-out text")
    for point in points[:: -math.ceil(len(points) / CURVE_LINES)][::-1]:
        print(f"  {point['tokens']:>11,.0f}   {point['bits_per_byte']:.3f}")


def print_run(result: Mapping[str, Any], plain: bool, new: str) -> None:
    """Prints a run's table, its examples and what to type next; `new` is a name for another run."""
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


def players(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The contestants of a result with their titles; n of best-of-n is the run's own setting."""
    best = [name.removeprefix("utility_") for name in result if name.startswith("utility_best_of_")]
    return [("base", "base"), ("sft", "SFT"), *((name, name.replace("_", " ")) for name in best), ("ppo", "PPO")]


def comparison_table(result: Mapping[str, Any], plain: bool = False) -> Table:
    """Base, SFT, best-of-n and PPO side by side; what was not measured is a dash."""
    table = Table(box=box.ASCII if plain else box.SIMPLE_HEAD, title=None)
    table.add_column("")
    shown = players(result)
    for _, title in shown:
        table.add_column(title, justify="right")
    for quantity, title in ROWS:
        cells = [_cell(result, quantity, player) for player, _ in shown]
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
        lines.append(f"tokens a response, PPO's less SFT's: {longer:+.3f} ({low} to {high}, 95 %)")
    names = ("accuracy", "ceiling", "longer_baseline", "correctness_accuracy", "calibration_error")
    right, ceiling, longer, correctness, error = (_number(result.get(f"rm_{name}")) for name in names)
    lines += [
        f"reward model on held-out pairs: {right} right (ceiling {ceiling}, longer wins {longer})",
        f"reward model on correctness alone: {correctness} right; calibration error {error}",
    ]
    if result.get("curve"):
        lines.append(_curve_line(result["curve"]))
    alarms = ", ".join(result["alarms"]) or "none"
    lines.append(
        f"alarms: {one_line(alarms)}; {result['parameters'] or 0:,} parameters; {duration(result['elapsed_s'])}, "
        f"{result['peak_rss_mb']:.0f} MB"
    )
    return lines


def _curve_line(curve: Sequence[Mapping[str, float]]) -> str:
    """How PPO's own samples went from the first to the last, and when the judge liked them best."""
    first, last, best = curve[0], curve[-1], max(curve, key=lambda point: point["utility"])
    return (
        f"while PPO trained: reward {first['reward']:.2f} to {last['reward']:.2f}, "
        f"judge utility {first['utility']:.2f} to {last['utility']:.2f} "
        f"(best {best['utility']:.2f} at step {best['step']})"
    )


def examples_table(examples: Sequence[Mapping[str, str]], plain: bool = False) -> Table:
    """Prompts with the SFT and the PPO answer side by side."""
    table = Table(box=box.ASCII if plain else box.SIMPLE_HEAD, show_lines=True)
    for title in ("prompt", "SFT", "PPO"):
        table.add_column(title, ratio=1, overflow="fold")
    for example in examples:
        table.add_row(*(Text(clean(str(example[name]))) for name in ("prompt", "sft", "ppo")))
    return table


def _cell(result: Mapping[str, Any], quantity: str, player: str) -> str:
    if quantity == "win_rate":
        value = result.get({"ppo": "win_rate"}.get(player, f"{player}_win_rate"))
        return "-" if value is None else f"{value:.1%}"
    name = "kl_nats" if (quantity, player) == ("kl_nats", "ppo") else f"{quantity}_{player}"
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
