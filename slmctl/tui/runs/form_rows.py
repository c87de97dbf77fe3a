"""The rows of the form that starts a stage: first the command's options, then every setting.

Pure functions of a draft and the available runs; showing and editing the rows is the form's job.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from engine.core.settings import list_presets
from engine.run.pipeline import COMMON
from engine.run.planning import DEFAULT_PRESET
from slmctl.runs.command_form import INPUT_HELP, TAKES, TARGETS, CommandDraft, Setting
from slmctl.runs.overview import RunSummary

YES, NO = "yes", "no"
CHANGED = "*"
OPENED = {"preset": DEFAULT_PRESET, "fresh": NO}  # when the form opens; "" for the other options
MODELS = {"init": ("pretrain", "sft", "ppo"), "ref": ("pretrain", "sft", "ppo"), "reward": ("rm",), "judge": ("rm",)}
SCORERS = ("pocket:judge",)


@dataclass(frozen=True)
class FormRow:
    """One option or setting: `text` is the choice, `hint` what applies without one.

    `choices` are offered; nothing else is allowed unless the row is `free`. `changed` marks a choice made here; then
    `origin` is the option that sets it, and `instead` the value that it replaces.
    """

    key: str
    text: str
    meaning: str
    hint: str = ""
    allowed: str = ""
    origin: str = ""
    choices: tuple[str, ...] = ()
    free: bool = True
    changed: bool = False
    instead: str = ""


def rows_of(draft: CommandDraft, settings: Sequence[Setting], runs: Sequence[RunSummary], preset: str) -> list[FormRow]:
    """All rows; the settings come from `preset`, the choices from `runs`."""
    names = tuple(run.run for run in runs)
    rows = [
        FormRow("what", draft.target, TARGETS[draft.target], choices=tuple(TARGETS), free=False),
        FormRow(
            "preset",
            draft.preset,
            "settings to start from: a name or your own FILE.toml",
            hint=preset,
            choices=tuple(known.name for known in list_presets()),
        ),
        FormRow("run", draft.run, _run_meaning(draft, names), hint=draft.name, choices=names),
        FormRow(
            "from",
            draft.parent,
            "run whose finished stages a new run shares",
            hint="none",
            choices=("", *names),
        ),
    ]
    for name in TAKES[draft.target]:
        rows.append(FormRow(name, draft.inputs.get(name, ""), INPUT_HELP[name], "none", choices=_models(name, runs)))
    fresh = YES if draft.fresh else NO
    rows.append(FormRow("fresh", fresh, "restart this stage and all later ones", choices=(NO, YES), free=False))
    rows = [replace(row, changed=row.key != "what" and row.text not in ("", OPENED.get(row.key))) for row in rows]
    return rows + [_setting_row(setting, draft) for setting in settings]


def _run_meaning(draft: CommandDraft, names: Sequence[str]) -> str:
    return "resumes this run" if draft.name in names else "name of a new run"


def _models(option: str, runs: Sequence[RunSummary]) -> tuple[str, ...]:
    """The models of all runs that fit an option."""
    wanted = MODELS.get(option, ())
    found = [f"{run.run}:{name}" for run in runs for name in wanted if name in run.models]
    return ("", *found, *(SCORERS if option in ("reward", "judge") else ())) if wanted else ()


def _setting_row(setting: Setting, draft: CommandDraft) -> FormRow:
    row = FormRow(
        setting.name,
        setting.text,
        setting.meaning,
        "all cores" if setting.name == "threads" else "",
        setting.allowed,
        setting.origin,
        setting.choices,
        not setting.choices,
    )
    if setting.name not in draft.settings:
        return row
    option = f"--{setting.name.replace('_', '-')}" if setting.name in COMMON else "--set"
    instead = f"{setting.text or row.hint or 'nothing'} ({setting.origin})"
    return replace(row, text=draft.settings[setting.name], origin=option, changed=True, instead=instead)


def with_choice(draft: CommandDraft, row: FormRow, text: str, before: str) -> CommandDraft:
    """The draft with another choice in a row; for a setting, its value `before` any choice counts as none."""
    text = text.strip()
    match row.key:
        case "what":
            return replace(draft, target=text)
        case "fresh":
            return replace(draft, fresh=text == YES)
        case "preset":
            return replace(draft, preset=text)
        case "run":
            return replace(draft, run=text)
        case "from":
            return replace(draft, parent=text)
    if row.key in INPUT_HELP:
        return replace(draft, inputs=_with(draft.inputs, row.key, text))
    return replace(draft, settings=_with(draft.settings, row.key, "" if text == before else text))


def _with(table: Mapping[str, str], key: str, text: str) -> dict[str, str]:
    rest = {name: value for name, value in table.items() if name != key}
    return {**rest, key: text} if text else rest


def next_choice(row: FormRow, step: int) -> str:
    """The choice after the current one of a row, or before it."""
    if not row.choices:
        return row.text
    place = row.choices.index(row.text) if row.text in row.choices else -1 if step > 0 else 0
    return row.choices[(place + step) % len(row.choices)]


def matches(row: FormRow, words: str) -> bool:
    """Whether a row's name, meaning or change mark contains every word of a filter."""
    text = f"{CHANGED if row.changed else ''} {row.key} {row.meaning}".lower()
    return all(word in text for word in words.lower().split())
