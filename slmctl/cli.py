"""The command line: wiring only, and the edge where errors become sentences and exit codes.

Nothing here or in the commands loads torch before a command needs it.
"""

import functools
import os
import signal
import sys
from typing import Annotated, Any

import typer

from engine.core.errors import INTERRUPTED, ConfigError, EngineError, FileError, is_disk_error
from slmctl.commands import (
    chat,
    convert,
    data,
    doctor,
    eval,
    export,
    guide,
    label,
    options,
    presets,
    run,
    runs,
    sample,
    score,
    stage,
    watch,
)
from slmctl.console.crash import keep_traceback
from slmctl.console.printing import say
from slmctl.console.safe import clean
from slmctl.tui.playground import can_draw, play

BUG = 70
DRAWING = ("chat", "label", "watch")  # commands that take --ascii, before their name or after it
HELP = """\b
slmctl                            the playground: watch, chat and label in the terminal
slmctl run --preset tiny          base, SFT, reward model, PPO and evaluation in one go
slmctl chat tiny:sft tiny:ppo     talk to the policies it made
slmctl runs                       what there is

Reinforcement learning from human feedback that fits in one terminal."""

app = typer.Typer(
    name="slmctl",
    help=HELP,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _command(function: Any, name: str, short: str, text: str, group: typer.Typer = app) -> None:
    @functools.wraps(function)
    def command(**given: Any) -> None:
        try:
            function(**given)
        except KeyboardInterrupt:
            say("\nstopped by ctrl+c")
            sys.exit(INTERRUPTED)

    group.command(name, help=text, short_help=short)(command)


def _wire() -> None:
    _command(run.run, "run", "Everything, up to the evaluation.", run.HELP)
    _command(stage.pretrain, "pretrain", "Train the base model.", stage.HELP["pretrain"])
    _command(stage.sft, "sft", "Fine-tune on demonstrations.", stage.HELP["sft"])
    _command(stage.rm, "rm", "Train the reward model.", stage.HELP["rm"])
    _command(stage.ppo, "ppo", "Train the policy by PPO.", stage.HELP["ppo"])
    _command(eval.evaluate, "eval", "Compare two policies.", eval.HELP)
    _command(chat.chat, "chat", "Talk to policies.", chat.HELP)
    _command(label.label, "label", "Say which answer is better.", label.HELP)
    _command(sample.sample, "sample", "Responses to prompts, for scripts.", sample.HELP)
    _command(score.score, "score", "Scores of responses, for scripts.", score.HELP)
    _command(export.export, "export", "Labels as rows for other programs.", export.HELP)
    _command(watch.watch, "watch", "Charts, samples and alarms, live.", watch.HELP)
    _command(runs.runs, "runs", "List runs, or show one.", runs.HELP)
    presets_app = typer.Typer(help="List presets, or show one.", rich_markup_mode=None, no_args_is_help=True)
    _command(presets.list_presets, "list", "List the presets.", presets.LIST_HELP, presets_app)
    _command(presets.show, "show", "Show every value of a preset.", presets.SHOW_HELP, presets_app)
    app.add_typer(presets_app, name="presets")
    data_app = typer.Typer(help="Check, show or convert data.", rich_markup_mode=None, no_args_is_help=True)
    _command(data.check, "check", "Report bad rows, counts, lengths.", data.CHECK_HELP, data_app)
    _command(data.show, "show", "Show prompts or rows.", data.SHOW_HELP, data_app)
    _command(convert.convert, "convert", "Rewrite other formats as rows.", convert.HELP, data_app)
    app.add_typer(data_app, name="data")
    _command(guide.guide, "guide", "Read the manual.", guide.HELP)
    _command(doctor.doctor, "doctor", "Device, threads and versions in use.", doctor.HELP)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("slmctl"))
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    ascii: options.Ascii = False,
) -> None:
    """Opens the playground where no command is given, or prints help where there is no terminal for it."""
    if (command := ctx.invoked_subcommand) is not None:
        if ascii and command not in DRAWING:
            raise ConfigError(f"{command} draws nothing, so --ascii goes with chat, label and watch alone")
        ctx.default_map = {command: {"ascii": ascii}}
        return
    if not can_draw(os.environ):
        print(ctx.get_help())
        return
    from engine.rundir.directory import runs_home
    from slmctl.tui.start import Start

    play(Start(runs_home(os.environ), ascii=ascii))


_wire()


def main(arguments: list[str] | None = None) -> None:
    """Runs one command and ends the process with its exit code.

    An EngineError is one sentence and its own code; anything else is a bug of ours, 70, its traceback in a file.
    """
    if arguments is None and hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # whoever reads us may stop reading, as `head` does
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        app(sys.argv[1:] if arguments is None else arguments, prog_name="slmctl")
    except EngineError as error:
        say(f"slmctl: {clean(str(error))}")
        sys.exit(error.exit_code)
    except Exception as error:
        if disk := next((one for one in (error, error.__cause__) if is_disk_error(one)), None):
            place = disk.filename or "what this command prints"
            say(f"slmctl: cannot read or write {clean(str(place))}: {os.strerror(disk.errno or 0).lower()}")
            sys.exit(FileError.exit_code)
        bug, kept = keep_traceback(error)
        say(f"slmctl: a bug of ours: {clean(repr(bug))} (details in {kept})")
        sys.exit(BUG)
