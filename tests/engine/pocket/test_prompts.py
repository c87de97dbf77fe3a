"""The prompts of the pocket world: kinds, splits and lookup."""

import string
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.pocket.prompts import (
    GROUPS,
    KINDS,
    SPLITS,
    WRAPPERS,
    Kind,
    Split,
    all_requests,
    describe_world,
    draw_requests,
    fill,
    find_request,
    lowered,
    normalized,
    wrap,
)

PHRASINGS = 10
EVERYTHING = [request for split in SPLITS for request in all_requests(split)]


def test_the_world_is_as_broad_as_the_design_asks() -> None:
    assert len(KINDS) >= 24
    assert {kind.group for kind in KINDS.values()} == set(GROUPS)
    assert all(len(kind.phrasings) == len(set(kind.phrasings)) == PHRASINGS for kind in KINDS.values())
    assert all(len(kind.facts) >= 12 for kind in KINDS.values())
    assert len({request.text for request in EVERYTHING}) >= 20_000


def test_every_prompt_text_is_of_one_request() -> None:
    assert len({request.text for request in EVERYTHING}) == len(EVERYTHING)
    owners: dict[str, set[tuple[str, int, str]]] = {}
    for request in EVERYTHING:
        owners.setdefault(normalized(request.text), set()).add((request.kind, request.phrasing, request.subject))
    assert all(len(combinations) == 1 for combinations in owners.values())


def test_splits_share_no_combination_and_are_cut_80_10_10() -> None:
    combinations = {split: {(r.kind, r.phrasing, r.subject) for r in all_requests(split)} for split in SPLITS}
    assert not combinations["train"] & combinations["validation"]
    assert not combinations["train"] & combinations["test"]
    assert not combinations["validation"] & combinations["test"]
    shares = {split: len(all_requests(split)) / len(EVERYTHING) for split in SPLITS}
    assert shares == pytest.approx({"train": 0.8, "validation": 0.1, "test": 0.1}, abs=0.01)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_phrasing_and_subject_occurs_in_train(kind: Kind) -> None:
    seen = [request for request in all_requests("train") if request.kind == kind.name]
    assert {request.phrasing for request in seen} == set(range(PHRASINGS))
    assert {request.subject for request in seen} == {fact.subject for fact in kind.facts}
    for split in SPLITS[1:]:
        assert any(request.kind == kind.name for request in all_requests(split))


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_facts_are_complete(kind: Kind) -> None:
    for fact in kind.facts:
        assert fact.answer not in fact.wrong
        assert len(set(fact.wrong)) == len(fact.wrong)
        if kind.answerable:
            assert fact.answer and fact.wrong
    assert not set(kind.pool) & set(kind.strays)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_sentences_are_well_formed(kind: Kind) -> None:
    fact = kind.facts[0]
    for template in (*kind.forms, *kind.partial, kind.bare, *kind.wrong_forms, *kind.statements):
        sentence = fill(template, fact, fact.answer or "Anna")
        assert sentence[0] in string.ascii_uppercase + string.digits, sentence
        assert sentence[-1] in ".?" and "  " not in sentence
    vowels = tuple("aeiou")
    for request in (request for request in EVERYTHING if request.kind == kind.name):
        words = request.text.lower().split()
        for article, noun in pairwise(words):
            assert article not in ("a", "an") or (article == "an") == noun.startswith(vowels), request.text


def test_wrappers_change_the_tone_and_keep_the_fields() -> None:
    asked = [wrap("What is the opposite of {x}?", "knowledge", tone) for tone in range(len(WRAPPERS))]
    assert asked == [
        "What is the opposite of {x}?",
        "Please tell me, what is the opposite of {x}?",
        "Hello. What is the opposite of {x}?",
        "Quick: what is the opposite of {x}?",
        "what is the opposite of {x}",
        "waht is teh opposite of {x}",
    ]
    assert wrap("Name some gifts.", "advice", 1) == "Please name some gifts."
    assert wrap("Name some gifts.", "advice", 5) == "name some gifts pls"
    assert wrap("I feel {x} today.", "smalltalk", 1) == "Well, I feel {x} today."
    assert wrap("I feel {x} today.", "smalltalk", 5) == "hey i feel {x} today"
    assert wrap("{X} is what colour?", "knowledge", 3) == "Quick: {x} is what colour?"


def test_lowered_keeps_names_and_the_first_person() -> None:
    assert lowered("The capital") == "the capital"
    assert lowered("{y} is the capital of {x}.") == "{y} is the capital of {x}."
    assert lowered("{X} says {y}.") == "{x} says {y}."
    assert lowered("I would pack {y}.") == "I would pack {y}."


@pytest.mark.parametrize("split", SPLITS)
def test_draw_is_balanced_repeatable_and_without_replacement(split: Split) -> None:
    drawn = draw_requests(split, 300, seed=1, stream="here")
    assert len(set(drawn)) == 300
    assert set(drawn) <= set(all_requests(split))
    assert set(Counter(request.kind for request in drawn).values()) == {300 // len(KINDS)}
    assert drawn == draw_requests(split, 300, seed=1, stream="here")
    assert len(set(drawn) & set(draw_requests(split, 300, seed=2, stream="here"))) < 100
    assert drawn != draw_requests(split, 300, seed=1, stream="there")


def test_draw_gives_the_whole_split_and_refuses_more() -> None:
    available = all_requests("test")
    assert set(draw_requests("test", len(available), 0, "all")) == set(available)
    assert draw_requests("test", 0, 0, "none") == []
    with pytest.raises(ValueError, match=f"the test split: it has {len(available)}"):
        draw_requests("test", len(available) + 1, 0, "more")


def test_find_knows_every_prompt_in_any_case_and_spacing() -> None:
    for request in EVERYTHING[::7]:
        assert find_request(request.text) == request
    wanted = find_request("What is the capital of France?")
    assert wanted is not None and (wanted.kind, wanted.subject) == ("capital", "France")
    for variant in (
        "what is the  capital of france",
        ' "What is the capital of France" ',
        "WHAT IS THE CAPITAL OF FRANCE?!",
    ):
        found = find_request(variant)
        assert found is not None and (found.kind, found.subject) == ("capital", "France")
    assert find_request("What is the capital of Atlantis?") is None


@given(st.text())
def test_find_is_total(text: str) -> None:
    find_request(text)


def test_describe_counts_everything() -> None:
    described = describe_world()
    assert described["kinds"] == len(KINDS)
    assert described["prompts"] == {split: len(all_requests(split)) for split in SPLITS}


def test_the_world_needs_no_torch() -> None:
    modules = ("labelers", "training_data")
    code = "; ".join(f"import engine.pocket.{module}" for module in modules)
    code += "; import sys; print(sorted({'torch', 'numpy', 'tokenizers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_world_is_the_same_under_another_hash_seed() -> None:
    code = (
        "from engine.pocket.training_data import demonstrations; from engine.pocket.training_data import documents; "
        "print(demonstrations(50, 3), list(documents(50, 3)))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
