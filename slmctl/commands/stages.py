"""`slmctl run`, `pretrain`, `sft`, `rm` and `ppo`: a whole run, or one stage with the stages that it needs.

Each prepares the run, shows its plan, runs it, prints the result and names the next command.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.core.errors import INTERRUPTED, EngineError
from engine.core.events import to_json
from slmctl.commands.options import COMMON_FLAGS, INPUT_FLAGS, MODEL, takes
from slmctl.console.crash import UnexpectedError
from slmctl.console.printing import say
from slmctl.console.progress import EventLines, LineReporter, OutputOptions, Reporter, UntilPipeCloses, alert_line
from slmctl.console.safe import one_line
from slmctl.console.signals import StopFlag, broken_pipes_raise

if TYPE_CHECKING:
    from engine.run.planning import Prepared, RunRequest


def _takes(*inputs: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options of every stage command, with those inputs that it takes."""
    report = ("json", "jsonl", "plain", "quiet")
    return takes("preset", "run", "from_", "fresh", *inputs, *MODEL, "max_steps", "set_", *report)


@_takes("reward", "judge")
def run(**options: Any) -> None:
    """\b
    slmctl run --preset tiny
    slmctl run --preset tiny --run seed1 --seed 1 --json
    slmctl run --run round2 --from tiny --set ppo.kl_coef=0.1

    Trains the base model, the SFT policy, the reward model and the PPO policy, then evaluates them. Rerun the
    command to resume an interrupted run; a finished one prints its result again."""
    _train("run", options)


@_takes("data", "map")
def pretrain(**options: Any) -> None:
    """\b
    slmctl pretrain --preset tiny
    slmctl pretrain --preset tiny --run mine --data texts.jsonl

    Trains a tokenizer and a base model on text."""
    _train("pretrain", options)


@_takes("data", "map", "init")
def sft(**options: Any) -> None:
    """\b
    slmctl sft --preset tiny
    slmctl sft --preset tiny --run mine --data demonstrations.json

    Fine-tunes the base model on demonstrations: {prompt, completion}, {messages} or {instruction, input, output}
    rows, or the edited responses of a label database."""
    _train("sft", options)


@_takes("data", "map", "init")
def rm(**options: Any) -> None:
    """\b
    slmctl rm --preset tiny
    slmctl rm --run mine --data comparisons.json
    slmctl rm --run round2 --from tiny --data runs/tiny/labels.db --init tiny:rm --set rm.epochs=6

    Trains a reward model on comparisons: {prompt, chosen, rejected} rows, rankings, a label database, or the labels of
    simulated labelers. The accuracy is measured on held-out pairs: the newest labels of a database, a random split of a
    file. One epoch over few comparisons is not enough; a note suggests settings for them."""
    _train("rm", options)


@_takes("prompts", "map", "init", "ref", "reward", "judge")
def ppo(**options: Any) -> None:
    """\b
    slmctl ppo --preset tiny
    slmctl ppo --run round2 --from tiny --set ppo.kl_coef=0.1
    slmctl ppo --preset tiny --run concise --reward pocket:concise
    slmctl ppo --run short --from tiny --reward mine.py:short_answers

    Trains the SFT policy with PPO against the reward model, with a KL penalty that keeps it close to its start."""
    _train("ppo", options)


def _train(target: str, options: Mapping[str, Any]) -> None:
    """Runs what is left of a stage, or of the whole run, and prints its result on stdout.

    `options` are the values of the command line, by name. Raises: EngineError; SystemExit(130) after Ctrl-C.
    """
    from engine.run.planning import prepare
    from engine.rundir.directory import runs_home

    view = OutputOptions(*(bool(options[name]) for name in ("json", "jsonl", "plain", "quiet")))
    home = runs_home(os.environ)
    prepared = prepare(request_of(target, options), home, os.environ)
    if not view.quiet:
        for line in plan_lines(prepared, options.get("max_steps")):
            say(one_line(line))
    if prepared.stages or prepared.rundir.lacks_ending(prepared.last):
        _drive(prepared, view)
    _print_result(prepared, view)


def request_of(target: str, options: Mapping[str, Any]) -> "RunRequest":
    """The request that the typed options make."""
    from engine.core.settings import parse_assignments
    from engine.run.planning import RunRequest

    inputs = {name: options[name] for name in INPUT_FLAGS if options.get(name) is not None}
    if pairs := options.get("map"):
        inputs["map"] = ",".join(pairs)
    return RunRequest(
        target=target,
        preset=options.get("preset"),
        run=options.get("run"),
        parent=options.get("from_"),
        fresh=bool(options.get("fresh")),
        flags={name: options[name] for name in COMMON_FLAGS if options.get(name) is not None},
        overrides=parse_assignments(options.get("set_") or []),
        inputs=inputs,
    )


def plan_lines(prepared: "Prepared", max_steps: int | None) -> list[str]:
    """What the command will do: its stages and where they write, what is shared, its data, and what it reuses."""
    run, target = prepared.rundir, prepared.target
    if not prepared.stages:
        limit = "; --max-steps has no effect on it" if max_steps is not None else ""
        return [f"run {run.name!r}: {target} is already finished{limit}"]
    lines = [f"run {run.name!r} in {run.path}: {', '.join(prepared.stages)}"]
    if prepared.made:
        lines.append(f"{target} needs {', '.join(prepared.made)} first, which this command runs, too")
    shared: dict[str, list[str]] = {}
    for stage, entry in prepared.record.shared.items():
        shared.setdefault(entry["run"], []).append(stage)
    lines += [f"shared with run {parent!r}: {', '.join(stages)}" for parent, stages in shared.items()]
    if prepared.dropped:
        deleted = [stage for stage in prepared.dropped if stage in run.started()]
        lines += [f"--fresh deletes: {', '.join(deleted)}"] if deleted else []
    for stage in prepared.stages:
        for option, given in prepared.inputs(stage).items():
            rows = "" if given.rows is None else f" ({given.rows:,} rows)"
            lines.append(f"{stage}: --{option} {given.name}{rows}")
    for option, value in remembered(prepared).items():
        lines.append(f"reusing --{option} {value} from an earlier command; pass --{option} none to clear it")
    if prepared.config.max_steps and max_steps is None:
        steps = f"reusing --max-steps {prepared.config.max_steps} from an earlier command"
        lines.append(f"{steps}; pass --max-steps 0 to clear it")
    return lines


def remembered(prepared: "Prepared") -> dict[str, str]:
    """The inputs of the target that come from an earlier command."""
    given = prepared.inputs("ppo" if prepared.target == "run" else prepared.target)
    return {option: one.name for option, one in given.items() if option not in prepared.typed}


def _drive(prepared: "Prepared", view: OutputOptions) -> None:
    """Runs the stages that are left; torch is loaded here, not before."""
    from engine.core import threads

    stop = StopFlag().install()
    threads.apply(prepared.config.threads)
    from engine.run.driver import execute

    shown = _reporter(view, prepared.rundir.name, prepared.stages)
    show = UntilPipeCloses(shown, sys.stdout if view.jsonl else sys.stderr)
    with broken_pipes_raise():
        try:
            done = execute(prepared, stop, show.show)
        except EngineError:
            raise
        except Exception as error:  # the edge of the process writes the details to the run's log
            raise UnexpectedError(prepared.rundir.log) from error
        finally:
            show.close()
    if not done:
        print("stopped and saved; rerun the same command to resume", file=sys.stderr)
        raise SystemExit(INTERRUPTED)


def _reporter(options: OutputOptions, run: str, stages: Sequence[str]) -> Reporter:
    """The reporter for the stages of a run: bars on a terminal, lines elsewhere, unless the options ask for another."""
    if options.jsonl:
        return LineReporter(sys.stdout, to_json)
    if options.quiet:
        return LineReporter(sys.stderr, alert_line)
    if options.plain or not sys.stderr.isatty():
        return LineReporter(sys.stderr, EventLines(run, stages=stages))
    from slmctl.console.progress_bars import BarReporter

    return BarReporter(run, stages=stages)


def _print_result(prepared: "Prepared", view: OutputOptions) -> None:
    from slmctl.console.results import finite, print_run, print_stage, run_result, stage_result
    from slmctl.label.rounds import next_name

    whole = prepared.target == "run"
    result = run_result(prepared.rundir) if whole else stage_result(prepared.rundir, prepared.target)
    if view.jsonl:
        print(json.dumps({"event": "Result", "result": finite(result)}))
    elif view.json:
        print(json.dumps(finite(result)))
    elif whole:
        print_run(result, view.plain, next_name(prepared.rundir.path.parent, prepared.rundir.name))
    else:
        own = any("data" in prepared.inputs(stage) for stage in ("pretrain", "sft"))
        print_stage(result, prepared.rundir, "" if own else prepared.config.world.name)
