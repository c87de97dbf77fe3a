"""Drawing and ranking: every prompt with its number of responses, noise that is solved for, rows that come back."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from engine.core.config import ComparisonsConfig
from engine.core.errors import ConfigError
from engine.core.events import CheckpointSaved, StageFinished, without_clock
from engine.data.records import Ranking
from engine.pocket.judge import JudgeScores
from engine.train.comparisons import (
    HELD_OUT_FILE,
    TRAIN_FILE,
    PromptDraw,
    draw_comparisons,
    draws_in_chunks,
    measured_on,
    ranked,
    read_drawn,
    write_comparisons,
)
from tests.support.tiny import language_model, loop, metrics_of, never, stop_after, word_tokenizer

CONFIG = ComparisonsConfig(responses_min=2, responses_max=4, batch=10, max_new_tokens=6, agreement=0.6, tie_margin=0.0)
AGREEMENT_TOLERANCE = 0.08
"""Three standard errors of a share over 40 couples of rankings."""
PROMPT = "What is the capital of France?"
RESPONSES = [
    "The capital of France is Paris.",
    "Paris.",
    "I do not know.",
    "",
    "The capital of France is Rome.",
    "Go away, you fool.",
]
TOLERANCE = 1e-3


def config(**changes: Any) -> ComparisonsConfig:
    return ComparisonsConfig(**(CONFIG.model_dump() | changes))


def test_chunks_hold_every_prompt_once_within_the_batch() -> None:
    prompts, held_out = [f"p{i}" for i in range(40)], [f"h{i}" for i in range(7)]
    chunks = draws_in_chunks(prompts, held_out, CONFIG, seed=0)
    items = [item for chunk in chunks for item in chunk]
    assert [item.prompt for item in items] == prompts + held_out
    assert [item.held_out for item in items] == [False] * 40 + [True] * 7
    assert {item.responses for item in items} == {2, 3, 4}
    assert all(sum(item.responses for item in chunk) <= 10 for chunk in chunks)
    assert chunks == draws_in_chunks(prompts, held_out, CONFIG, seed=0) != draws_in_chunks(prompts, held_out, CONFIG, 1)


def test_a_prompt_larger_than_a_batch_has_its_own_chunk() -> None:
    chunks = draws_in_chunks(["a", "b"], [], config(responses_min=4, batch=3), seed=0)
    assert [[item.prompt for item in chunk] for chunk in chunks] == [["a"], ["b"]]


ASKED = [PromptDraw(PROMPT, len(RESPONSES), held) for held in [False] * 60 + [True] * 20]


def test_labelers_agree_as_often_as_asked() -> None:
    for agreement in (0.6, 0.73):
        rows, measured = ranked(ASKED, [RESPONSES] * len(ASKED), config(agreement=agreement), seed=0)
        assert measured["comparisons/agreement"] == pytest.approx(agreement, abs=AGREEMENT_TOLERANCE)
        own = [row["ranking"] for row in rows]
        same = [  # two labelers' rows of one prompt: how often they order a pair alike
            (a[i] < a[j]) == (b[i] < b[j])
            for a, b in zip(own[::2], own[1::2], strict=True)
            for i, j in combinations(range(len(RESPONSES)), 2)
        ]
        assert sum(same) / len(same) == pytest.approx(agreement, abs=AGREEMENT_TOLERANCE)


def test_rankings_count_from_1_and_ties_share_a_place() -> None:
    rows, measured = ranked(ASKED, [RESPONSES] * len(ASKED), config(tie_margin=0.2), seed=0)
    assert all(min(row["ranking"]) == 1 and len(row["ranking"]) == len(RESPONSES) for row in rows)
    pairs = [pair for row in rows for pair in combinations(row["ranking"], 2)]
    assert measured["comparisons/ties"] == sum(a == b for a, b in pairs) / len(pairs) > 0
    assert measured_on(rows, measured["comparisons/scale"], 0.2).items() <= measured.items()


def test_no_prompts_noise_depends_on_the_others() -> None:
    rows, _ = ranked(ASKED, [RESPONSES] * len(ASKED), CONFIG, seed=0)
    fewer, _ = ranked(ASKED[:50], [RESPONSES] * 50, CONFIG, seed=0)
    assert [row["ranking"] for row in fewer] == [row["ranking"] for row in rows[:50]]


@pytest.mark.parametrize(
    ("changes", "responses", "expected"),
    [
        (
            {"persona": "grumpy"},
            RESPONSES,
            r"comparisons.persona = 'grumpy': unknown persona \(personas: helpful, concise",
        ),
        ({"tie_margin": 99.0}, RESPONSES, "comparisons.tie_margin = 99.0 makes every pair a tie"),
        ({"agreement": 0.9}, ["", ""], "comparisons.agreement = 0.9: two labelers cannot agree on 0.9"),
    ],
)
def test_what_cannot_be_is_one_sentence(changes: dict[str, Any], responses: list[str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        ranked(ASKED[:1], [responses], config(**changes), seed=0)


# the whole stage, on a random policy, and with a judge who sees a difference in its words


def counting_judge(prompt: str, response: str) -> JudgeScores:
    """Helpful by the words, concise by their absence."""
    share = min(1.0, len(response.split()) / 6)
    return JudgeScores(share, 0.5, 0.5, response.count("red") / 6, 1 - share, None, share)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.train.comparisons.judge", counting_judge)


def draw(c: ComparisonsConfig, directory: Path, **changes: Any) -> tuple[list[Any], Path]:
    options: dict[str, Any] = {"should_stop": never, "every": 2, "seed": 5} | changes
    events = draw_comparisons(
        language_model(),
        word_tokenizer(),
        [f"{PROMPT} {word}" for word in ("red", "blue", "two", "why", "no", "yes")] * 2,
        ["red why", "green"],
        c,
        loop(directory, "comparisons", 0, options["seed"], every=options["every"], should_stop=options["should_stop"]),
    )
    return list(events), directory / "comparisons" / "final"


SMALL = config(agreement=0.6)


def test_drawn_comparisons_come_back_as_they_were_written(judged: None, tmp_path: Path) -> None:
    events, final = draw(SMALL, tmp_path)
    rankings, utilities = read_drawn(final / TRAIN_FILE)
    held_out, _ = read_drawn(final / HELD_OUT_FILE)
    assert (len(rankings), len(held_out)) == (12, 2)
    assert all(isinstance(each, Ranking) and 2 <= len(each.responses) <= 4 for each in rankings + held_out)
    assert [len(own) for own in utilities] == [len(each.responses) for each in rankings]
    rows = [json.loads(line) for line in (final / TRAIN_FILE).read_text().splitlines()]
    assert rows[0].keys() == {"prompt", "responses", "ranking", "utilities"}
    total = sum(len(each.responses) for each in rankings + held_out)
    assert metrics_of(events)[-1]["comparisons/responses"] == total
    assert isinstance(events[-2], CheckpointSaved) and isinstance(events[-1], StageFinished)
    assert 0 < events[-1].metrics["comparisons/agreement"] < 1


def test_responses_with_line_ends_of_other_kinds_come_back(tmp_path: Path) -> None:
    row = {"prompt": PROMPT, "responses": ["a\x85b\u2028c\x1cd\re\nf", ""], "ranking": [1, 2], "utilities": [0.5, 0.1]}
    write_comparisons(tmp_path, [{**row, "held_out": False}], {})
    rankings, _ = read_drawn(tmp_path / TRAIN_FILE)
    assert rankings == [Ranking(PROMPT, ("a\x85b\u2028c\x1cd\re\nf", ""), (1, 2))]


def test_stopped_and_resumed_equals_never_stopped(judged: None, tmp_path: Path) -> None:
    whole, final = draw(SMALL, tmp_path / "whole")
    before, _ = draw(SMALL, tmp_path / "cut", should_stop=stop_after(1))
    after, again = draw(SMALL, tmp_path / "cut")
    assert len(metrics_of(before)) == 1
    assert without_clock(metrics_of(before) + metrics_of(after)) == without_clock(metrics_of(whole))
    for name in (TRAIN_FILE, HELD_OUT_FILE):
        assert (final / name).read_bytes() == (again / name).read_bytes()


OTHER: dict[str, Any] = {
    "responses_min": 3,
    "responses_max": 3,
    "temperature": 0.5,
    "max_new_tokens": 3,
    "agreement": 0.55,
    "tie_margin": 0.5,
    "persona": "concise",
    "batch": 6,
}
ELSEWHERE = {"prompts"}


def test_every_setting_of_the_comparisons_has_a_case() -> None:
    assert OTHER.keys() | ELSEWHERE == ComparisonsConfig.model_fields.keys()


@pytest.mark.parametrize("name", OTHER)
def test_the_setting_changes_something(name: str, judged: None, tmp_path: Path) -> None:
    texts = []
    for folder, changes in (("usual", {}), ("other", {name: OTHER[name]})):
        final = draw(ComparisonsConfig(**(SMALL.model_dump() | changes)), tmp_path / folder)[1]
        texts.append((final / TRAIN_FILE).read_text())
    assert texts[0] != texts[1]
