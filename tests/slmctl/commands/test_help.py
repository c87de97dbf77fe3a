"""Help is there for every command, begins with examples, and costs no torch."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.slmctl.conftest import Cli

STAGES = ["run", "pretrain", "sft", "rm", "ppo"]
COMMANDS = [*STAGES, "eval", "chat", "label", "sample", "score", "export", "watch", "runs", "doctor"]
NESTED = [["presets", "list"], ["presets", "show"], ["data", "check"], ["data", "show"], ["data", "convert"]]
HEAVY = ("torch", "numpy", "datasets", "pyarrow", "transformers", "tokenizers", "safetensors", "textual")


def test_help_lists_every_command(cli: Cli) -> None:
    outcome = cli("--help")
    assert outcome.code == 0
    for name in [*COMMANDS, "presets", "data"]:
        assert f"  {name} " in outcome.out


def test_nothing_typed_prints_help(cli: Cli) -> None:
    outcome = cli()
    assert (outcome.code, outcome.err) == (0, "")
    assert "Usage: slmctl" in outcome.out


@pytest.mark.parametrize("words", [[name] for name in COMMANDS] + NESTED, ids=" ".join)
def test_help_begins_with_examples(cli: Cli, words: list[str]) -> None:
    outcome = cli(*words, "--help")
    assert outcome.code == 0
    lines = [line.strip() for line in outcome.out.splitlines() if line.strip()]
    assert lines[1].removeprefix("echo").lstrip().startswith("slmctl " + words[0])


def test_the_version(cli: Cli) -> None:
    assert cli("--version").out.strip() == version("slmctl")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["rnu"], "Did you mean"),
        (["run", "--sed", "1"], "--seed"),
        (["run", "--seed", "x"], "integer"),
        (["eval"], "Missing argument"),
        (["--ascii", "runs"], "runs draws nothing, so --ascii goes with chat, label and watch alone"),
    ],
)
def test_usage_errors_are_exit_2_with_a_hint(cli: Cli, arguments: list[str], hint: str) -> None:
    outcome = cli(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert hint in outcome.err
    assert "Traceback" not in outcome.err


LIGHT = [
    ["--help"],
    ["watch", "--once"],
    ["watch", "--json"],
    ["runs"],
    ["runs", "--json"],
    ["presets", "list"],
    ["presets", "show", "tiny"],
    ["run", "--help"],
]


@pytest.mark.parametrize("arguments", LIGHT, ids=" ".join)
def test_light_commands_load_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\nfrom slmctl.cli import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit as ended:\n"
        f"    assert not ended.code, ended.code\nprint('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    environ = {**os.environ, "SLMCTL_RUNS": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "LOADED []"


@pytest.mark.parametrize(
    "module",
    [
        *("slmctl.cli", "slmctl.console.safe", "slmctl.worker.client", "slmctl.watch.frame"),
        *("slmctl.label.simulated", "slmctl.label.rounds"),
        *(
            "engine.run.planning",
            "engine.rundir.heartbeat",
            "engine.data.survey",
            "engine.data.labels.agreement",
            "engine.pocket.judge",
        ),
    ],
)
def test_imports_load_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
