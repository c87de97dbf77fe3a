"""Pictures of numbers: small ones drawn by hand, and the promise that any numbers fit any size."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from slmctl.plots.axes import AxisScale, Canvas, Pen, PlotOptions, fit_scale, format_number, ticks
from slmctl.plots.chart import Curve, PlanePath, TargetLine, draw_chart, draw_plane, smooth
from slmctl.plots.styled_rows import Row, fit_to_width, join_ends, side_by_side, to_lines, truncate

NAN, INF = math.nan, math.inf


def chart(
    *curves: Curve, width: int = 10, height: int = 3, targets: tuple[TargetLine, ...] = (), **look: Any
) -> list[str]:
    return to_lines(draw_chart(curves, PlotOptions(width, height, **{"ascii": True} | look), targets).rows)


def line(*ys: float, **other: Any) -> Curve:
    return Curve(range(len(ys)), ys, **other)


def test_braille_dots_are_two_by_four_a_cell() -> None:
    canvas = Canvas(2, 1)
    for spot in ((0, 0), (1, 3), (2, 1), (3, 2), (9, 9), (-1, 0)):
        canvas.dot(*spot, Pen("a"))
    assert to_lines(canvas.picture()) == ["⢁⠢"]


def test_a_rising_line() -> None:
    assert chart(line(0, 1, 2, 3, 4)) == [
        "4+     ***",
        "2+    *   ",
        "0+****    ",
    ]


def test_with_room_there_are_axes_few_labels_and_the_unit() -> None:
    assert chart(line(0, 1, 2, 3, 4), width=34, height=6) == [
        "4+                            ****",
        "2+             ***************    ",
        " |     ********                   ",
        "0+*****                           ",
        " ++---------------+--------------+",
        "  0               2         4 step",
    ]


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_what_is_not_finite_is_a_gap(bad: float) -> None:
    assert chart(line(0, 0, bad, 4, 4)) == [
        "4+     ***",
        "2+        ",
        "0+***     ",
    ]


def test_a_single_point_and_a_constant() -> None:
    assert chart(Curve([7], [1.0]), width=12) == ["1.1+        ", "1.0+    *   ", "0.9+        "]
    assert "•" in chart(Curve([7], [1.0]), width=12, ascii=False)[1]
    assert [row.count("*") for row in chart(line(5, 5, 5))] == [0, 9, 0]
    assert chart(line(1e-311, 1e-311)) == chart(line(0, 0)), "what is next to nothing does not keep us for ever"


def test_what_is_not_negative_has_no_negative_axis() -> None:
    assert chart(line(0, 0, 0), width=12) == ["1.0+        ", "0.5+        ", "0.0+********"]
    assert draw_chart([Curve([1], [0.0])], PlotOptions(34, 6, ascii=True)).rows[-1][0][0].split() == ["1", "2", "step"]
    start = to_lines(draw_plane([PlanePath([1, 2], [0.0, 0.0], [0.5, 0.6])], PlotOptions(40, 7, ascii=True)).rows)
    assert "-" not in start[-1] and start[-1].split()[0] in ("0", "0.0")


def test_nothing_to_draw() -> None:
    for curves in ((), (Curve([], []),), (line(NAN, INF),)):
        assert chart(*curves, width=15) == [" " * 15, " no values yet ", " " * 15]


def test_a_target_is_a_dashed_line_or_an_arrow_beyond() -> None:
    assert chart(line(0, 4), width=26, targets=(TargetLine(2, "aim 2"),)) == [
        "4+  aim 2           ******",
        "2+--  --************  --  ",
        "0+******                  ",
    ], "its word gives way to the data"
    assert " aim 2 " in chart(line(0, 0, 4, 4, 4, 4, 4, 4), width=26, targets=(TargetLine(2, "aim 2"),))[1]
    assert chart(line(0, 1), width=26, targets=(TargetLine(8, "aim 8"),))[0].startswith("1.0+ aim 8 ^ ")
    assert " aim -9 v " in chart(line(1, 0), width=26, targets=(TargetLine(-9, "aim -9"),))[-1]
    assert "aim" not in "".join(chart(line(0, 4), width=12, targets=(TargetLine(2, "aim 2"),))), "no room for the word"


def test_lines_are_told_apart_without_colour() -> None:
    rows = chart(line(4, 4, 4), line(2, 2, 2, rank=1), line(0, 0, 0, rank=2, letter="C"), width=14)
    assert [row[2:] for row in rows] == ["************", "ooo ooo ooo ", "x x x x x xC"]
    braille = chart(line(4, 4), line(0, 0, rank=1), width=12, height=2, ascii=False)
    assert braille[0][2:] == "⠉" * 10 and braille[1][2:] != "⣀" * 10


def test_smoothing_keeps_the_raw_points_faint() -> None:
    rows = draw_chart([Curve([0, 1, 2], [2, 2, 2], faint=[0, 4, 0])], PlotOptions(10, 3, ascii=True)).rows
    assert to_lines(rows) == ["4+    .   ", "2+********", "0+.      ."]
    roles = {char: role for row in rows for text, role in row for char in text}
    assert (roles["."], roles["*"]) == ("faint0", "line0")


def test_the_smoothed_mean_by_hand() -> None:
    assert smooth([4.0, 4.0, 4.0], 0.5) == [4.0, 4.0, 4.0]
    assert smooth([1.0, 2.0], 0.5) == pytest.approx([1.0, (0.25 * 1 + 0.5 * 2) / 0.75])
    assert smooth([1.0, NAN, 1.0], 0.5) == pytest.approx([1.0, NAN, 1.0], nan_ok=True)
    assert smooth([3.0, 9.0], 0.0) == [3.0, 9.0]


def test_a_log_scale_leaves_out_what_has_no_logarithm() -> None:
    rows = chart(line(0, 1, 10, 100, 10), width=14, log=True)
    assert [row.split("+")[0].strip() for row in rows] == ["100", "10", "1"]
    assert "*" not in rows[2][2:6], "0 has no place"
    assert [row.index("*") for row in rows] == sorted((row.index("*") for row in rows), reverse=True)
    assert chart(line(-1, 0, 1), log=True) == chart(line(-1, 0, 1)), "too few are positive: linear"


def test_the_cursor_and_alerts_stand_at_their_step() -> None:
    rows = to_lines(draw_chart([line(0, 0, 0)], PlotOptions(23, 6, ascii=True), alerts=[1, 99]).rows_at(2))
    assert [row[-1] for row in rows[:4]] == ["|", "|", "|", "*"]
    assert rows[4] == "   ++--------!--------+"


def test_a_spike_among_many_is_not_lost() -> None:
    ys = [0.0] * 10_000
    ys[5_000] = 4.0
    rows = chart(line(*ys), width=22)
    assert rows[0].count("*") == 1 and rows[2].count("*") == 20
    ys[5_001:5_600] = [NAN] * 599
    assert chart(line(*ys), width=22)[2].count("*") < 20, "a gap wider than a column is seen"


def test_a_window_shows_its_steps_alone() -> None:
    assert chart(line(9, 0, 4, 9), window=(1, 2))[0].startswith("4+")
    assert chart(line(9, 0, 4, 9), window=(5, 6), width=15)[1] == " no values yet "


def test_held_out_points_are_marked() -> None:
    rows = chart(line(0, 0, 0, 0), Curve([0, 3], [4.0, 4.0], rank=1, sparse=True), ascii=False, width=14)
    assert rows[0].count("○") == 2


def test_the_plane_marks_the_newest_point_and_the_cursor() -> None:
    path = PlanePath([1, 2, 3], [0.0, 1.0, 4.0], [0.0, 1.0, 2.0])
    assert to_lines(draw_plane([path], PlotOptions(23, 7, ascii=True), TargetLine(9, "alert 9")).rows_at(2)) == [
        "2+            *@      :",
        " |         ***        :",
        "1+      *+*           :",
        " |  ****              :",
        "0+o*          alert 9 :",
        " ++------------+-------",
        "  0            2       ",
    ]
    far = to_lines(draw_plane([path], PlotOptions(40, 7, ascii=True), TargetLine(900, "alert 900")).rows)
    assert far[4].endswith("alert 900 > ") and "sqrt KL" in far[-1]
    both = draw_plane([path, PlanePath([1], [-0.2], [1.0], 1, "B")], PlotOptions(23, 7)).rows
    assert "B" in "".join(to_lines(both)) and "●" in "".join(to_lines(both)), "KL below 0 is noise around 0"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1.0, "1"), (1.2345, "1.23"), (12345, "12.3k"), (1234, "1234"), (1e-5, "1e-5"), (1.26e9, "1.3e9"),
     (NAN, "nan"), (INF, "inf"), (-INF, "-inf"), (-0.001, "-0.001")],
)  # fmt: skip
def test_short_numbers(value: float, text: str) -> None:
    assert format_number(value) == text


def test_ticks_are_few_and_round() -> None:
    assert [label for _, label in ticks(AxisScale(0.13, 1.48), 4)] == ["0.5", "1.0"]
    assert [label for _, label in ticks(AxisScale(1, 50), 4, whole=True)] == ["20", "40"]
    assert [label for _, label in ticks(AxisScale(1, 3), 9, whole=True)] == ["1", "2", "3"]
    assert [label for _, label in ticks(AxisScale(0.01, 100, log=True), 5)] == ["0.01", "0.1", "1", "10", "100"]
    assert fit_scale([NAN]) is None and fit_scale([0.0], log=True) is None


FLOATS = st.floats() | st.sampled_from([0.0, 1e308, -1e308, 5e-324, 1e-300, NAN, INF])
LOOKS = st.builds(
    PlotOptions, st.integers(-2, 60), st.integers(-2, 20), st.booleans(), st.booleans(),
    st.none() | st.tuples(st.floats(-10, 10), st.floats(-10, 10)),
)  # fmt: skip


@st.composite
def curves(draw: st.DrawFn) -> Curve:
    xs = sorted(draw(st.sets(st.integers(0, 10**6) | st.integers(0, 40), max_size=80)))
    ys = draw(st.lists(FLOATS, min_size=len(xs), max_size=len(xs)))
    faint = draw(st.sampled_from([(), tuple(reversed(ys))]))
    return Curve(xs, ys, draw(st.integers(0, 6)), faint, draw(st.booleans()), draw(st.sampled_from(["", "A"])))


def check_size(rows: list[Row], look: PlotOptions) -> None:
    text = to_lines(rows)
    assert len(text) == max(0, look.height)
    assert all(len(line) == max(0, look.width) for line in text)
    if look.ascii:
        assert all(line.isascii() for line in text)


@given(
    st.lists(curves(), max_size=3),
    LOOKS,
    st.none() | FLOATS,
    st.lists(FLOATS, max_size=2),
    st.lists(FLOATS, max_size=3),
)
def test_any_numbers_fit_any_size(
    lines: list[Curve], look: PlotOptions, cursor: float | None, aims: list[float], alerts: list[float]
) -> None:
    sketch = draw_chart(lines, look, [TargetLine(aim, "aim") for aim in aims], alerts)
    check_size(sketch.rows_at(cursor), look)
    step = sketch.step_at(look.width - 1)
    assert step is None or math.isfinite(step)


@st.composite
def paths(draw: st.DrawFn) -> PlanePath:
    points = draw(st.lists(st.tuples(FLOATS, FLOATS), max_size=60))
    kl, scores = [x for x, _ in points], [y for _, y in points]
    return PlanePath(range(len(points)), kl, scores, draw(st.integers(0, 6)), draw(st.sampled_from(["", "A"])))


@given(st.lists(paths(), max_size=3), LOOKS, st.none() | FLOATS, st.none() | FLOATS)
def test_any_plane_fits_any_size(
    routes: list[PlanePath], look: PlotOptions, cursor: float | None, limit: float | None
) -> None:
    check_size(draw_plane(routes, look, None if limit is None else TargetLine(limit, "alert")).rows_at(cursor), look)


@given(st.lists(st.tuples(st.text(max_size=9), st.just("")), max_size=4), st.integers(0, 20))
def test_rows_are_cut_and_padded_in_cells(row: Row, width: int) -> None:
    assert sum(cell_len(text) for text, _ in fit_to_width(row, width)) == width
    assert cell_len(truncate("".join(text for text, _ in row), width)) <= width


def test_rows_side_by_side() -> None:
    assert to_lines(side_by_side([[[("ab", "")]], [[("c", "")], [("東京", "")]]], [2, 4])) == ["ab c   ", "   東京"]
    assert to_lines([join_ends([("ab", "")], [("c", "")], 5), join_ends([("ab", "")], [("c", "")], 3)]) == [
        "ab  c",
        "ab ",
    ]
