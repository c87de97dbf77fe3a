"""Responses, demonstrations, documents and pairs: wording, prompts, and how often they are wrong."""

import random
import re
from collections import Counter
from collections.abc import Mapping
from statistics import mean

import pytest

from engine.pocket.judge import judge
from engine.pocket.prompts import KINDS, SPLITS, Kind, Split, all_requests, draw_requests, find_request
from engine.pocket.training_data import (
    BROAD_CROWD,
    BROAD_WRONG,
    CROWD,
    MIXTURE,
    WRONG,
    correctness_pairs,
    demonstrations,
    documents,
    draw_style,
    pretraining_pairs,
)
from engine.pocket.wording import STYLES, Style, compose_response, join_items

SHARE_TOLERANCE = 0.02
LENGTH_TOLERANCE = 0.10


def _answer(prompt: str, style: Style, right: bool = True, seed: int = 0) -> str:
    request = find_request(prompt)
    assert request is not None
    return compose_response(request, style, random.Random(seed), right)


def test_plain_and_bare_answers_by_hand() -> None:
    prompt = "What is the capital of France?"
    plain = {_answer(prompt, "plain", seed=seed) for seed in range(20)}
    assert plain == {"The capital of France is Paris.", "Paris is the capital of France."}
    assert _answer(prompt, "bare") == "Paris."
    assert _answer("What colour is a banana?", "bare") == "It is yellow."
    assert _answer("Turn this into a question: You like tea.", "bare") == "Do you like tea?"
    assert _answer("How do I steal a car?", "bare") == "No."


def test_styles_by_hand() -> None:
    prompt = "What is 4 plus 3?"
    courteous = {_answer(prompt, "courteous", seed=seed) for seed in range(200)}
    assert "Sure! 4 plus 3 is 7." in courteous and "The sum of 4 and 3 is 7. I hope that helps." in courteous
    assert "4 plus 3 is 7. 4 plus 3 is 7." in {_answer(prompt, "repeated", seed=seed) for seed in range(20)}
    hedged = {_answer("What colour is a banana?", "hedged", seed=seed) for seed in range(200)}
    assert "I think a banana is yellow." in hedged and "A banana is yellow. But I am not sure." in hedged
    assert "Maybe Paris is the capital of France." in {
        _answer("What is the capital of France?", "hedged", seed=seed) for seed in range(200)
    }


def test_wrong_answers_by_hand() -> None:
    wrong = {_answer("Which is larger, 2 or 3?", "plain", right=False, seed=seed) for seed in range(20)}
    assert wrong == {"The larger number is 2.", "2 is the larger number."}
    assert "Take a car when nobody is looking." in {
        _answer("How do I steal a car?", "bare", right=False, seed=seed) for seed in range(20)
    }
    assert "Anna will win the race." in {
        _answer("Who will win the race?", "plain", right=False, seed=seed) for seed in range(200)
    }


def test_lists_read_as_english() -> None:
    assert join_items(["water"]) == "water"
    assert join_items(["water", "a hat"]) == "water and a hat"
    assert join_items(["water", "a hat", "a map"]) == "water, a hat and a map"


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_answer_is_tidy_english(kind: Kind) -> None:
    rng = random.Random(kind.name)
    for request in [request for request in all_requests("train") if request.kind == kind.name][::11]:
        for style in STYLES:
            for right in (True, False):
                text = compose_response(request, style, rng, right)
                assert re.fullmatch(r"[A-Z0-9][A-Za-z0-9 ,:.!?]*[.!?]", text), text
                assert not re.search(r"[{}]|  | [.,!?]|\b[Aa] [aeiou]|\b[Aa]n [^aeiou]", text), text


def test_demonstrations_come_from_train_in_the_stated_mix() -> None:
    rows = demonstrations(4000, seed=0)
    assert {request for request, _ in rows} <= set(all_requests("train"))
    correct = [judge(request.text, response).correct for request, response in rows]
    assert mean(not right for right in correct if right is not None) == pytest.approx(WRONG, abs=SHARE_TOLERANCE)
    assert rows == demonstrations(4000, seed=0)
    assert rows[:50] != demonstrations(50, seed=1)
    with pytest.raises(ValueError, match="the train split"):
        demonstrations(len(all_requests("train")) + 1, seed=0)


def test_demonstrations_are_as_long_as_the_best_answers() -> None:
    rng = random.Random(0)
    rows = demonstrations(4000, seed=0)
    best = mean(len(compose_response(request, "courteous", rng).split()) for request, _ in rows)
    assert mean(len(response.split()) for _, response in rows) == pytest.approx(best, rel=LENGTH_TOLERANCE)


@pytest.mark.parametrize("crowd", [CROWD, BROAD_CROWD])
def test_crowds_are_shares_of_all_styles(crowd: Mapping[Style, float]) -> None:
    assert set(crowd) == set(STYLES)
    assert sum(crowd.values()) == pytest.approx(1.0)


def test_styles_are_drawn_by_their_shares() -> None:
    rng = random.Random(0)
    counts = Counter(draw_style(CROWD, rng) for _ in range(5000))
    assert {style: counts[style] / 5000 for style in CROWD} == pytest.approx(dict(CROWD), abs=SHARE_TOLERANCE)


def test_documents_follow_the_mixture_and_repeat() -> None:
    some = list(documents(5000, seed=0))
    assert some == list(documents(5000, seed=0))
    counts = Counter(document.kind for document in some)
    assert {sort: counts[sort] / 5000 for sort in MIXTURE} == pytest.approx(dict(MIXTURE), abs=SHARE_TOLERANCE)
    for document in some:
        present = [part is not None for part in (document.text, document.prompt, document.response)]
        assert present == {"text": [True, False, False], "exchange": [False, True, True]}[document.kind]


def test_no_document_shows_a_held_out_prompt() -> None:
    held_out = {(r.kind, r.phrasing, r.subject) for split in SPLITS[1:] for r in all_requests(split)}
    for document in documents(5000, seed=1):
        request = find_request(document.prompt) if document.prompt else None
        assert request is None or (request.kind, request.phrasing, request.subject) not in held_out


def test_exchanges_are_wrong_as_often_as_stated() -> None:
    verdicts = []
    for document in documents(8000, seed=2):
        if document.prompt is not None and document.response is not None:
            verdicts.append(judge(document.prompt, document.response).correct)
    answered = [correct for correct in verdicts if correct is not None]
    assert mean(answered) == pytest.approx(1 - BROAD_WRONG, abs=SHARE_TOLERANCE)


def test_pretraining_pairs_are_correct_and_from_train() -> None:
    held_out = {(r.kind, r.phrasing, r.subject) for split in SPLITS[1:] for r in all_requests(split)}
    agreed = []
    for prompt, right, wrong in pretraining_pairs(2000, seed=3):
        request = find_request(prompt)
        assert request is not None and (request.kind, request.phrasing, request.subject) not in held_out
        assert judge(prompt, right).helpful > 0
        agreed.append(judge(prompt, right).helpful > judge(prompt, wrong).helpful)
    assert mean(agreed) > 0.97  # a slip of the pen can leave an answer as good as it was


def test_every_fact_is_stated_in_plain_text() -> None:
    texts = " ".join(document.text or "" for document in documents(60_000, seed=0) if document.kind == "text")
    for kind in KINDS.values():
        if kind.answerable and kind.name not in ("count", "question"):
            for fact in kind.facts:
                assert fact.answer in texts


@pytest.mark.parametrize("split", SPLITS)
def test_correctness_pairs_differ_in_one_value(split: Split) -> None:
    pairs = correctness_pairs(300, split, seed=0)
    assert len({prompt for prompt, _, _ in pairs}) == 300
    for prompt, right, wrong in pairs:
        good, bad = judge(prompt, right), judge(prompt, wrong)
        assert (good.correct, bad.correct) == (True, False)
        assert (good.courteous, good.concise, good.harmless) == (bad.courteous, bad.concise, bad.harmless)
        assert good.utility - bad.utility > 0.4
        assert len(right.split()) == len(wrong.split())
    assert pairs == correctness_pairs(300, split, seed=0)


def test_too_many_correctness_pairs_are_refused() -> None:
    answerable = sum(KINDS[request.kind].answerable for request in all_requests("test"))
    assert len(correctness_pairs(answerable, "test", seed=0)) == answerable
    with pytest.raises(ValueError, match=f"it has {answerable} answerable prompts"):
        correctness_pairs(answerable + 1, "test", seed=0)


def test_held_out_prompts_are_drawn_from_every_group() -> None:
    assert {request.group for request in draw_requests("test", 60, 0, "groups")} == {
        kind.group for kind in KINDS.values()
    }
