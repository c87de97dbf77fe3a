"""A command under construction in the form that starts a stage: its words, its settings, what it would do.

Torch-free and screen-free. engine.core.settings and engine.run.planning decide what is allowed; nothing is written
here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from engine.core.errors import ConfigError
from engine.core.settings import all_settings, flatten, load_preset, parse_value, resolve
from engine.data.datasets import is_dataset
from engine.pocket.labelers import PERSONAS
from engine.run.pipeline import COMMON, INPUTS, NAMES, SECTIONS, needs
from engine.run.planning import DEFAULT_PRESET, Prepared, RunRequest, plan, resolve_on
from engine.rundir.directory import RunDir, check_name
from engine.rundir.runtoml import RunRecord, read_run_toml

TARGETS = {
    "run": "a whole run, from base model to evaluation",
    "pretrain": "the base model",
    "sft": "fine-tuning on demonstrations",
    "rm": "the reward model",
    "ppo": "PPO",
}
BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
TAKES: dict[str, tuple[str, ...]] = {"run": ("reward", "judge"), **INPUTS}
INPUT_HELP = {
    "data": "your own rows: .jsonl, .json, .csv, .parquet, .gz, or hf:ORG/NAME",
    "map": "field names in your rows, such as prompt=question",
    "prompts": "your own prompts: a file of rows, or .txt with one per line",
    "init": "initial model, in place of the previous stage: a folder or NAME:sft",
    "ref": "reference policy for KL, in place of the initial policy",
    "reward": "scorer, in place of the run's reward model: NAME:rm, pocket:judge, FILE.py:FUNCTION",
    "judge": "held-out judge: raises an alert when its score falls while the reward rises",
}


@dataclass(frozen=True)
class CommandDraft:
    """The choices so far, "" for none. `settings` are texts by dotted name, as typed."""

    target: str = "run"
    preset: str = ""
    run: str = ""
    parent: str = ""
    fresh: bool = False
    inputs: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The run that the command works on."""
        return self.run or Path(self.preset).stem or DEFAULT_PRESET

    def request(self) -> RunRequest:
        """The request of the command."""
        common = {name: parse_value(text) for name, text in self.settings.items() if name in COMMON}
        others = {name: text for name, text in self.settings.items() if name not in COMMON}
        return RunRequest(
            self.target,
            self.preset or None,
            self.run or None,
            self.parent or None,
            self.fresh,
            common,
            others,
            self._inputs(),
        )

    def words(self) -> tuple[str, ...]:
        """The command's words after `slmctl`."""
        given = {"preset": self.preset, "run": self.run, "from": self.parent, **self._inputs()}
        given |= {name.replace("_", "-"): text for name, text in self.settings.items() if name in COMMON}
        words = [self.target, *(word for name, text in given.items() if text for word in (f"--{name}", text))]
        for name, text in self.settings.items():
            words += ["--set", f"{name}={text}"] if name not in COMMON else []
        return (*words, "--fresh") if self.fresh else tuple(words)

    def _inputs(self) -> dict[str, str]:
        """The chosen inputs that the target takes."""
        return {name: self.inputs[name] for name in TAKES[self.target] if self.inputs.get(name)}


@dataclass(frozen=True)
class Setting:
    """One setting: its value as text, its origin, its meaning and what is allowed."""

    name: str
    text: str
    origin: str
    meaning: str
    allowed: str
    choices: tuple[str, ...]


def settings_of(draft: CommandDraft, home: Path, environ: Mapping[str, str]) -> list[Setting]:
    """Every setting as the command would resolve it, the most relevant to its target first.

    Raises: ConfigError, FileError as engine.core.settings and engine.rundir.runtoml do.
    """
    record, request = record_of(draft, home), draft.request()
    if record is not None:
        resolved = resolve_on(record, request, environ)
    else:
        resolved = resolve(load_preset(draft.preset or DEFAULT_PRESET), request.overrides, request.flags, environ)
    values, known = flatten(resolved.config), all_settings()
    return [
        Setting(
            name,
            setting_text(values[name]),
            resolved.origins[name],
            known[name].description or "",
            _allowed(known[name]),
            _choices(name, known[name]),
        )
        for name in sorted(known, key=lambda name: _rank(name, draft.target))
    ]


def record_of(draft: CommandDraft, home: Path) -> RunRecord | None:
    """The record that the settings start from: the existing run's, else its parent's; None for a preset.

    Raises: ConfigError for a name that no run can have; FileError if run.toml cannot be read.
    """
    for name in (draft.name, draft.parent):
        run = RunDir(home / check_name(name)) if name else None
        if run is not None and run.exists():
            return read_run_toml(run)
    return None


def effective_draft(draft: CommandDraft, home: Path) -> CommandDraft:
    """The draft without its preset if its run or parent has recorded one."""
    try:
        record = record_of(draft, home)
    except ConfigError:
        record = None
    return replace(draft, preset="") if record is not None and draft.run else draft


def preview(draft: CommandDraft, home: Path, environ: Mapping[str, str]) -> str:
    """What the command would do, in sentences; nothing is written.

    Raises: EngineError with the command's own sentence, if it would refuse. Rows are not read and datasets not loaded;
    the command itself reports what is wrong with them.
    """
    record = record_of(draft, home)
    typed = [draft.inputs[option] for option in ("data", "prompts") if draft.inputs.get(option)]
    recorded = [given for options in (record.inputs if record else {}).values() for given in options.values()]
    if any(map(is_dataset, typed)) or any(given.kind == "dataset" for given in recorded):
        return "The command checks its dataset when it starts."
    return _sentences(plan(draft.request(), home, environ))


def _sentences(prepared: Prepared) -> str:
    run = prepared.rundir.name
    if not prepared.stages:
        return f"Nothing to do: {prepared.target} of {run} is finished."
    first = f"Creates run {run}" if prepared.before is None else f"Resumes run {run}"
    shared = ", ".join(NAMES[stage] for stage in prepared.record.shared)
    gone = ", ".join(NAMES[stage] for stage in prepared.dropped if stage in prepared.rundir.started())
    done = ", ".join(NAMES[stage] for stage in prepared.stages)
    return (
        first
        + (f", sharing {shared} with {' and '.join(prepared.record.parents)}" if shared else "")
        + f". Stages: {done}."
        + (f" Deletes first: {gone}." if gone else "")
    )


def setting_text(value: Any) -> str:
    """A value as typed."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _rank(name: str, target: str) -> int:
    """The rank of a setting: the target's own first, then common ones, then those of earlier stages."""
    section = name.partition(".")[0] if "." in name else ""
    if target not in SECTIONS or not section:
        return 1
    near = (*SECTIONS[target], *needs(target, {}))
    return 0 if section in SECTIONS[target][1:] else 2 if section in near else 3


def _allowed(info: FieldInfo) -> str:
    bounds = {type(item).__name__.lower(): item for item in info.metadata}
    found = [f"{words} {getattr(bounds[name], name):g}" for name, words in BOUNDS.items() if name in bounds]
    return ", ".join(found)


def _choices(name: str, info: FieldInfo) -> tuple[str, ...]:
    if name == "comparisons.persona":
        return tuple(PERSONAS)
    if info.annotation is bool:
        return ("true", "false")
    return tuple(get_args(info.annotation)) if get_origin(info.annotation) is Literal else ()
