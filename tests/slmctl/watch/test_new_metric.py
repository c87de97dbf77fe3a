"""A metric is one entry in the registry: charts, pickers, the headline and progress bars follow from it."""

import io

import pytest
from rich.console import Console

from engine.core.events import Event, StageStarted
from engine.core.metrics import REGISTRY, Metric
from slmctl.console.progress import EventLines, LineReporter
from slmctl.console.progress_bars import BarReporter
from slmctl.plots.styled_rows import to_lines
from slmctl.tui.watch.dialogs import MetricPicker
from slmctl.watch.frame import frame
from slmctl.watch.panels import ChartView, explain_panel, panel_of
from tests.slmctl.watch.test_history import told
from tests.support.recorded_runs import ppo_step

SURPRISE = Metric(
    "ppo/surprise", "surprise at itself", "how surprised the policy is", "bits", "-log2 p", "down", "own", "wow", "Low."
)
EVENTS: list[Event] = [StageStarted("ppo", 9, at=100.0), *(ppo_step(step, surprise=4.5) for step in (1, 2))]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, SURPRISE.name, SURPRISE)


def test_it_has_a_chart_with_its_title_unit_and_direction() -> None:
    text = "\n".join(to_lines(frame([told(*EVENTS)], 103.0, 150, ChartView())))
    assert "surprise at itself  4.5" in text and "bits, lower is better" in text


def test_it_can_be_picked_and_is_explained() -> None:
    line = MetricPicker("ppo", [SURPRISE.name], [])._line(SURPRISE.name).plain
    assert line == "[ ] surprise at itself: how surprised the policy is (bits)"
    about = "\n".join(to_lines(explain_panel(panel_of(SURPRISE.name), "ppo", [told(*EVENTS)], ChartView(), 90)))
    for words in ("how surprised the policy is", "-log2 p", "Low.", "highest 4.5"):
        assert words in about


def test_it_stands_in_the_headline_of_lines_and_bars() -> None:
    out = io.StringIO()
    lines = LineReporter(out, EventLines("tiny", every_s=0.0))
    bars = BarReporter("tiny", Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None))
    for event in EVENTS:
        lines.show(event)
        bars.show(event)
    shown = "".join(segment.text for segment in Console(width=120).render(bars.frame()))
    bars.close()
    assert "wow 4.5" in out.getvalue() and "wow 4.5" in shown
