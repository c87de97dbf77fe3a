"""The command line: wiring only, and the edge where errors become sentences and exit codes.

Nothing here or in the commands loads torch before a command needs it.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.models import Default

from engine.core.errors import INTERRUPTED, ConfigError, EngineError, FileError, is_disk_error
from engine.rundir.directory import runs_home
from slmctl.commands import chat, data, label, models, options, reference, runs, stages, watch
from slmctl.console.crash import keep_traceback
from slmctl.console.printing import say
from slmctl.console.safe import clean
from slmctl.tui.opening import can_draw, open_playground
from slmctl.tui.playground import Start

INTERNAL_ERROR = 70
DRAWING = ("chat", "label", "watch")  # commands that take --ascii, before their name or after it


class CommandGroup(TyperGroup):
    """Lists its commands in help by panel."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes a section per panel."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            row = name, command.get_short_help_str(formatter.width)
            panels.setdefault(getattr(command, "rich_help_panel", None) or "Commands", []).append(row)
        width = max(map(len, self.commands))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl([(f"{name:<{width}}", text) for name, text in rows])


def _group(help: str = Default("")) -> typer.Typer:
    return typer.Typer(
        name="slmctl",
        cls=CommandGroup,
        help=help,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )


def _print_help(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


app, presets_app, data_app = _group(), _group("List the presets, or show one."), _group("Check, show or convert data.")


def _add(panel: str, name: str, function: Callable[..., None], short: str, group: typer.Typer = app) -> None:
    group.command(name, short_help=short, rich_help_panel=panel)(function)


def _add_commands() -> None:
    _add("Train", "run", stages.run, "Train all stages and evaluate the result.")
    _add("Train", "pretrain", stages.pretrain, "Train the base model.")
    _add("Train", "sft", stages.sft, "Fine-tune on demonstrations.")
    _add("Train", "rm", stages.rm, "Train the reward model.")
    _add("Train", "ppo", stages.ppo, "Train the policy with PPO.")
    _add("Compare", "eval", models.evaluate, "Compare two policies.")
    _add("Compare", "chat", chat.chat, "Chat with one policy or several.")
    _add("Compare", "sample", models.sample, "Generate responses to prompts.")
    _add("Compare", "score", models.score, "Score responses.")
    _add("Playground", "watch", watch.watch, "Show charts, samples and alerts of a run.")
    _add("Playground", "label", label.label, "Label which response is better.")
    _add("", "check", data.check_data, "Report bad rows, counts and lengths.", data_app)
    _add("", "show", data.show_data, "Show prompts or rows.", data_app)
    _add("", "convert", data.convert_data, "Convert files of other formats.", data_app)
    app.add_typer(data_app, name="data", rich_help_panel="Data")
    _add("Data", "export", data.export_labels, "Export labels for other programs.")
    _add("", "list", reference.list_presets, "List the presets.", presets_app)
    _add("", "show", reference.show_preset, "Show every setting of a preset.", presets_app)
    app.add_typer(presets_app, name="presets", rich_help_panel="Data")
    _add("Other", "runs", runs.runs, "List, show, rename or delete runs.")
    _add("Other", "stop", runs.stop, "Stop a run after it has saved.")
    _add("Other", "guide", reference.guide, "Read the manual.")
    _add("Other", "doctor", reference.doctor, "Show device, threads and versions.")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("slmctl"))
        raise typer.Exit


@app.callback(invoke_without_command=True)
@options.takes("ascii")
def root(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    **given: bool,
) -> None:
    """\b
    slmctl                            open the playground on the runs in ./runs
    slmctl run --preset tiny          train a base model, SFT, reward model and PPO, then evaluate
    slmctl chat tiny:sft tiny:ppo     chat with both policies side by side
    slmctl runs                       list all runs

    Reinforcement learning from human feedback in the terminal."""
    if (command := ctx.invoked_subcommand) is not None:
        if given["ascii"] and command not in DRAWING:
            raise ConfigError(f"--ascii applies only to {', '.join(DRAWING[:-1])} and {DRAWING[-1]}, not to {command}")
        ctx.default_map = {command: given}
        return
    if not can_draw(os.environ):
        print(ctx.get_help())
        return
    open_playground(Start(runs_home(os.environ), ascii=given["ascii"]))


for group in (presets_app, data_app):
    group.callback(invoke_without_command=True)(_print_help)
_add_commands()


def main(arguments: list[str] | None = None) -> None:
    """Runs one command and ends the process with its exit code.

    A usage error or an EngineError is one sentence; any other error is internal, 70, with its traceback in a file.
    """
    if arguments is None:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # the reader may stop reading, as `head` does
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(arguments, prog_name="slmctl", standalone_mode=False) or 0
    except EngineError as error:
        code = _fail(clean(str(error)), error.exit_code)
    except typer.TyperException as error:
        _print_usage(error)
        code = _fail(clean(error.format_message()), error.exit_code)
    except typer.Abort:
        code = INTERRUPTED
    except Exception as error:
        code = _fail_unexpectedly(error)
    if code == INTERRUPTED:
        say("\ninterrupted")
    sys.exit(code)


def _fail(sentence: str, code: int) -> int:
    say(f"error: {sentence}")
    return code


def _print_usage(error: typer.TyperException) -> None:
    if (ctx := getattr(error, "ctx", None)) is not None:
        print(f"{ctx.get_usage()}\nTry '{ctx.command_path} --help' for help.\n", file=sys.stderr)


def _fail_unexpectedly(error: Exception) -> int:
    """Reports an error of the disk, or an internal error with the file that holds its traceback."""
    if disk := next((cause for cause in (error, error.__cause__) if is_disk_error(cause)), None):
        place = disk.filename or "the output of this command"
        return _fail(
            f"cannot read or write {clean(str(place))}: {os.strerror(disk.errno or 0).lower()}", FileError.exit_code
        )
    cause, log = keep_traceback(error)
    say(f"internal error: {clean(repr(cause))} (traceback in {log})")
    return INTERNAL_ERROR
