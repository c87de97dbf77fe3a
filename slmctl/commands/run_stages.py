"""What `run` and the stage commands share: prepare the run, drive it, report it, say what to type next."""

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.core.errors import INTERRUPTED, EngineError
from slmctl.commands.options import COMMON_FLAGS, INPUT_FLAGS
from slmctl.console.crash import Bug
from slmctl.console.printing import say
from slmctl.console.progress import OutputOptions, UntilPipeCloses, reporter
from slmctl.console.safe import one_line
from slmctl.console.signals import StopFlag, broken_pipes_raise

if TYPE_CHECKING:
    from engine.run.planning import Prepared, RunRequest


def train(target: str, options: Mapping[str, Any]) -> None:
    """Does a stage, or the whole run, as far as it is not done yet, and prints its result on stdout.

    `options` are the values that the command line gave, by name. Raises: EngineError; SystemExit(130) after Ctrl-C.
    """
    from engine.run.planning import prepare
    from engine.rundir.directory import runs_home

    view = OutputOptions(*(bool(options[name]) for name in ("json", "jsonl", "plain", "quiet")))
    home = runs_home(os.environ)
    prepared = prepare(request_of(target, options), home, os.environ)
    if not view.quiet:
        _announce(prepared, options.get("max_steps"))
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


def _announce(prepared: "Prepared", max_steps: int | None) -> None:
    if prepared.made:
        names = ", then ".join(prepared.made)
        say(f"{prepared.target} needs {names} first: making it in run {prepared.rundir.name!r}")
    if not prepared.stages:
        limit = "; --max-steps changes nothing in it" if max_steps is not None else ""
        say(f"run {prepared.rundir.name!r}: {prepared.target} is finished already{limit}")
        return
    for name, value in remembered(prepared).items():
        say(one_line(f"goes on with --{name} {value}, given before; --{name} none forgets it"))
    if prepared.config.max_steps and max_steps is None:
        steps = f"at most {prepared.config.max_steps} steps a stage, as --max-steps said before"
        say(f"{steps}; --max-steps 0 takes that back")


def remembered(prepared: "Prepared") -> dict[str, str]:
    """What the target was handed in an earlier command and goes on with in this one."""
    given = prepared.inputs("ppo" if prepared.target == "run" else prepared.target)
    return {option: one.name for option, one in given.items() if option not in prepared.typed}


def _drive(prepared: "Prepared", view: OutputOptions) -> None:
    """Runs the stages that are left; torch is loaded here and not before."""
    from engine.core import threads

    stop = StopFlag().install()
    threads.apply(prepared.config.threads)
    from engine.run.driver import execute

    show = UntilPipeCloses(reporter(view, prepared.rundir.name), sys.stdout if view.jsonl else sys.stderr)
    with broken_pipes_raise():
        try:
            done = execute(prepared, stop, show.show)
        except EngineError:
            raise
        except Exception as error:  # the edge of the process knows where to keep the details
            raise Bug(prepared.rundir.log) from error
        finally:
            show.close()
    if not done:
        print("stopped and saved; type the same command again to go on", file=sys.stderr)
        raise SystemExit(INTERRUPTED)


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
