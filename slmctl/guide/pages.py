"""The topics of the manual and the text of each page.

A page is the Markdown file of its topic beside this one. What would drift is generated when a page is read: a line
`{{settings}}` becomes the table of all settings, `{{metrics}}` the list of all metrics, `{{keys}}` what the caller
passes, since the key bindings belong to the playground, which this package does not import.
"""

from collections.abc import Iterable
from importlib.resources import files

from engine.core.config import Config
from engine.core.errors import ConfigError, did_you_mean
from engine.core.metrics import REGISTRY
from engine.core.settings import all_settings, flatten

TOPICS = {
    "tour": "Five minutes: train a policy, watch it, chat with it, label its answers",
    "rlhf": "How RLHF works here, stage by stage, and what every metric means",
    "data": "File formats for demonstrations, comparisons, prompts and text",
    "models": "Naming models, starting from your own, custom rewards, export",
    "labeling": "Collecting preferences and training on them",
    "playground": "The terminal interface and all of its keys",
    "settings": "Every setting, its default, and where values come from",
    "runs": "Runs: files on disk, resuming, sharing stages, exit codes",
    "python": "Using the engine from Python",
    "troubleshooting": "Symptoms, causes and remedies",
    "trl": "Coming from TRL",
    "architecture": "How slmctl is built",
}


def page(topic: str, keys: str) -> str:
    """The Markdown of one page; `keys` is the table of key bindings.

    Raises: ConfigError for a topic that does not exist.
    """
    if topic not in TOPICS:
        raise ConfigError(f"no guide page {topic!r}{did_you_mean(topic, TOPICS)} (topics: {', '.join(TOPICS)})")
    text = (files(__package__) / f"{topic}.md").read_text(encoding="utf-8")
    for name, table in (("settings", settings_tables), ("metrics", metric_lists)):
        if (placeholder := f"{{{{{name}}}}}") in text:
            text = text.replace(placeholder, table())
    return text.replace("{{keys}}", keys)


def settings_tables() -> str:
    """All settings with their defaults and descriptions, one Markdown table a section of the configuration."""
    defaults, sections = flatten(Config()), dict[str, list[tuple[str, ...]]]()
    for name, field in all_settings().items():
        value = defaults[name]
        default = "" if value is None or value == "" else _toml(value)
        section = name.rpartition(".")[0] or "general"
        sections.setdefault(section, []).append((f"`{name}`", default, field.description or ""))
    return "\n\n".join(
        f"## {section}\n\n{table(('setting', 'default', 'meaning'), rows)}" for section, rows in sections.items()
    )


def metric_lists() -> str:
    """All metrics, one Markdown list a stage: title, meaning, unit, formula, and what good values look like."""
    stages = dict[str, list[str]]()
    for metric in REGISTRY.values():
        unit = f" ({metric.unit})" if metric.unit else ""
        formula = f" Formula: `{metric.formula}`." if metric.formula else ""
        healthy = f" {metric.healthy}" if metric.healthy else ""
        line = f"- `{metric.name}`, **{metric.title}**{unit}: {metric.meaning}.{formula}{healthy}"
        stages.setdefault(metric.stage, []).append(line)
    return "\n\n".join(f"### {stage}\n\n" + "\n".join(lines) for stage, lines in stages.items())


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table; a vertical bar inside a cell is escaped."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
