"""The rows of the form that starts a stage: what can be chosen, first the command's options, then every setting.

Pure functions of a draft and of what there is to choose from; showing and editing them is the form's business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from engine.core.settings import list_presets
from engine.run.pipeline import COMMON
from engine.run.planning import DEFAULT_PRESET
from slmctl.runs.command_form import INPUT_WORDS, TAKES, TARGETS, Draft, Setting
from slmctl.runs.overview import RunSummary

YES, NO = "yes", "no"
CHANGED = "*"
OPENED = {"preset": DEFAULT_PRESET, "fresh": NO}  # what the options are when the form opens, "" for the others
MODELS = {"init": ("pretrain", "sft", "ppo"), "ref": ("pretrain", "sft", "ppo"), "reward": ("rm",), "judge": ("rm",)}
SCORERS = ("pocket:judge",)


@dataclass(frozen=True)
class Row:
    """One thing to choose: `text` is the choice, `hint` what holds where there is none.

    `choices` are offered; where the row is not `free`, nothing else is allowed. `changed` marks what was chosen here;
    of a setting, `origin` is then the option that it becomes, and `instead` the value that it replaces.
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


def rows_of(draft: Draft, settings: Sequence[Setting], runs: Sequence[RunSummary], preset: str) -> list[Row]:
    """All rows; `preset` is the one that the settings come from, `runs` are those that there are."""
    names = tuple(run.run for run in runs)
    rows = [
        Row("what", draft.target, TARGETS[draft.target], choices=tuple(TARGETS), free=False),
        Row(
            "preset",
            draft.preset,
            "settings to start from: a name, or your own FILE.toml",
            hint=preset,
            choices=tuple(known.name for known in list_presets()),
        ),
        Row("run", draft.run, _run_meaning(draft, names), hint=draft.name, choices=names),
        Row("from", draft.parent, "share the finished stages of this run", hint="nothing", choices=("", *names)),
    ]
    for name in TAKES[draft.target]:
        rows.append(Row(name, draft.inputs.get(name, ""), INPUT_WORDS[name], "none", choices=_models(name, runs)))
    fresh = YES if draft.fresh else NO
    rows.append(Row("fresh", fresh, "do it, and what builds on it, again from nothing", choices=(NO, YES), free=False))
    rows = [replace(row, changed=row.key != "what" and row.text not in ("", OPENED.get(row.key))) for row in rows]
    return rows + [_setting_row(setting, draft) for setting in settings]


def _run_meaning(draft: Draft, names: Sequence[str]) -> str:
    return "this run goes on" if draft.name in names else "a new run of this name"


def _models(option: str, runs: Sequence[RunSummary]) -> tuple[str, ...]:
    """The models of all runs that an option may want."""
    wanted = MODELS.get(option, ())
    found = [f"{run.run}:{name}" for run in runs for name in wanted if name in run.models]
    return ("", *found, *(SCORERS if option in ("reward", "judge") else ())) if wanted else ()


def _setting_row(setting: Setting, draft: Draft) -> Row:
    row = Row(
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


def changed(draft: Draft, row: Row, text: str, before: str) -> Draft:
    """The draft with another choice in a row; `before` is what a setting is without one, which counts as none."""
    text = text.strip()
    if row.key == "what":
        return replace(draft, target=text)
    if row.key == "fresh":
        return replace(draft, fresh=text == YES)
    if row.key == "preset":
        return replace(draft, preset=text)
    if row.key == "run":
        return replace(draft, run=text)
    if row.key == "from":
        return replace(draft, parent=text)
    if row.key in INPUT_WORDS:
        return replace(draft, inputs=_with(draft.inputs, row.key, text))
    return replace(draft, settings=_with(draft.settings, row.key, "" if text == before else text))


def _with(table: Mapping[str, str], key: str, text: str) -> dict[str, str]:
    rest = {name: value for name, value in table.items() if name != key}
    return {**rest, key: text} if text else rest


def next_choice(row: Row, step: int) -> str:
    """The choice after, or before, the one that a row has."""
    if not row.choices:
        return row.text
    place = row.choices.index(row.text) if row.text in row.choices else -1 if step > 0 else 0
    return row.choices[(place + step) % len(row.choices)]


def fits(row: Row, words: str) -> bool:
    """Whether a row's name or meaning, or the mark of a changed one, holds every word of a filter."""
    text = f"{CHANGED if row.changed else ''} {row.key} {row.meaning}".lower()
    return all(word in text for word in words.lower().split())
