"""A labeling session: labels, undo, repeated pairs, and that its state follows from the database."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.errors import FileError
from engine.data.labels.agreement import annotator_agreements
from engine.data.labels.store import Label, LabelStore, read_database, read_labels
from engine.data.records import Message
from slmctl.label import session as session_module
from slmctl.label.decisions import SKIP, choice, no_preference, ranking
from slmctl.label.questions import Recipe
from slmctl.label.session import REPEATED, REPEATED_AFTER, LabelSession
from slmctl.label.statistics import scorer_agrees, statistics_of
from tests.support.fake_sampler import FakeSampler
from tests.support.label_databases import judged, stored
from tests.support.label_sessions import (
    PROMPTS,
    TWO,
    Clock,
    Deed,
    asked,
    edited,
    first,
    lived,
    marked,
    opened,
    other,
    second,
    skipped,
    stronger,
    tied,
    undone,
)


def test_a_choice_is_kept_by_response_not_by_place(tmp_path: Path) -> None:
    lived(tmp_path / "l.db", *[first] * 12)
    judged = read_labels(tmp_path / "l.db")
    assert len(judged) == 12
    for one in judged:
        assert one.ranks is not None
        assert one.ranks[one.shown[0]] == 0 and one.ranks[one.shown[1]] == 1
        assert [candidate.model for candidate in one.candidates] == ["a:sft", "b:ppo"]
    assert {one.ranks for one in judged} == {(0, 1), (1, 0)}, "sides are drawn"


def test_every_verdict_is_kept_as_it_was_given(tmp_path: Path) -> None:
    async def ranked(session: LabelSession) -> None:
        await session.answer(ranking((1, 0, 1)))

    async def all_bad(session: LabelSession) -> None:
        await session.answer(no_preference("both_bad", 3))

    async def much(session: LabelSession) -> None:
        await session.answer(choice(2, 3, 2))

    async def one_tie(session: LabelSession) -> None:
        await session.answer(ranking((0, 0, 0)))

    lived(tmp_path / "l.db", marked, ranked, all_bad, much, one_tie, skipped, edited, recipe=Recipe(("a:sft",), k=3))
    judged = read_labels(tmp_path / "l.db")
    assert [one.verdict for one in judged] == ["ranking", "both_bad", "choice", "tie", "skip", "edit"]
    by_place = [None if one.ranks is None else tuple(one.ranks[at] for at in one.shown) for one in judged]
    assert by_place == [(1, 0, 1), (0, 0, 0), (1, 1, 0), (0, 0, 0), None, None]
    assert [one.strength for one in judged] == [1, 1, 2, 1, 1, 1]
    assert [one.flagged for one in judged] == [True, *[False] * 5], "marks are the question's own"
    assert (judged[0].note, judged[1].note, judged[5].edited) == ("look \x1b[2J", "", "better")


def test_seconds_are_those_that_the_question_was_looked_at(tmp_path: Path) -> None:
    async def main() -> None:
        clock = Clock()
        session = await opened(tmp_path / "l.db", clock=clock)
        clock.now = 2.5
        assert (await session.answer(choice(0, 2))).seconds == 2.5
        await asked(session)
        clock.now = 6.0
        assert (await session.answer(SKIP)).seconds == 3.5
        await session.close()

    asyncio.run(main())


def test_much_better_takes_the_place_of_better(tmp_path: Path) -> None:
    session = lived(tmp_path / "l.db", first, second, stronger, stronger)
    database = read_database(tmp_path / "l.db")
    assert [(one.id, one.strength) for one in database.standing] == [(1, 1), (3, 2)]
    assert (database.withdrawn, database.newest) == ([], 4), "the stronger one is there before the other goes"
    assert [one.id for one in session.labels] == [one.id for one in database.standing]


def test_only_a_choice_can_be_made_stronger(tmp_path: Path) -> None:
    session = lived(tmp_path / "l.db", stronger, tied, stronger, skipped, stronger)
    assert [one.strength for one in session.labels] == [1, 1]


def test_undo_reaches_the_first_label_and_asks_it_again(tmp_path: Path) -> None:
    async def main() -> None:
        session = await opened(tmp_path / "l.db")
        questions = []
        for deed in (first, marked, second, edited, skipped):
            questions.append(session.question)
            await deed(session)
            await asked(session)
        before = session.question
        for expected in (questions[4], questions[3], questions[1], questions[0]):
            assert await session.undo() is not None
            assert session.question == expected
        assert await session.undo() is None
        assert read_labels(tmp_path / "l.db") == []
        for _ in range(3):
            await session.answer(SKIP)
        assert session.question == before, "what was asked when undo began comes when its turn comes"
        await session.close()

    asyncio.run(main())


def test_marks_come_back_with_their_question(tmp_path: Path) -> None:
    session = lived(tmp_path / "l.db", marked, first, undone)
    assert (session.flagged, session.note) == (True, "look \x1b[2J")


def test_undo_reaches_behind_a_restart(tmp_path: Path) -> None:
    lived(tmp_path / "l.db", first, second)
    session = lived(tmp_path / "l.db", undone, undone)
    assert session.labels == []
    assert session.question is not None and session.question.prompt == PROMPTS[0]


def test_chat_votes_are_not_undone_here_but_count_as_asked(tmp_path: Path) -> None:
    stored(tmp_path / "l.db", judged(annotator="ann", prompt=PROMPTS[0], selection="chat"))
    session = lived(tmp_path / "l.db", undone, first)
    assert [one.prompt for one in session.labels] == [PROMPTS[1]]
    assert len(read_labels(tmp_path / "l.db")) == 2


def test_an_edit_leaves_the_pair_to_be_compared(tmp_path: Path) -> None:
    session = lived(tmp_path / "l.db", edited, first)
    one, two = session.labels
    assert (one.prompt, one.candidates) == (two.prompt, two.candidates)
    assert (one.ranks, two.edited) == (None, None)


def test_other_responses_replace_the_pair_and_keep_its_marks(tmp_path: Path) -> None:
    plain = lived(tmp_path / "a.db")
    session = lived(tmp_path / "b.db", marked, other)
    assert plain.question is not None and session.question is not None
    assert session.question.prompt == plain.question.prompt
    assert session.question.candidates != plain.question.candidates
    assert session.flagged


def test_what_the_disk_does_not_take_is_still_the_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        session = await opened(tmp_path / "l.db")
        await session.answer(SKIP)
        await asked(session)
        question, judged = session.question, list(session.labels)

        def full(*_: object) -> int:
            raise FileError("the disk is full")

        with monkeypatch.context() as patch:
            for name in ("add", "withdraw"):
                patch.setattr(session.store, name, full)
            for deed in (first, undone):
                with pytest.raises(FileError, match="full"):
                    await deed(session)
            assert (session.question, session.labels) == (question, judged)
        await session.answer(choice(0, 2))
        assert len(read_labels(tmp_path / "l.db")) == 2
        await session.close()

    asyncio.run(main())


def test_a_question_is_answered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        session = await opened(tmp_path / "l.db")
        looking, looked, newest = threading.Event(), threading.Event(), session.store.newest

        def slow(annotator: str, before: int) -> int:
            looking.set()
            assert looked.wait(60)
            return newest(annotator, before)

        monkeypatch.setattr(session.store, "newest", slow)
        answering = asyncio.create_task(session.answer(choice(0, 2)))
        await asyncio.to_thread(looking.wait, 60)
        assert session.writes.turn.locked() and len(read_labels(tmp_path / "l.db")) == 1
        later = [asyncio.ensure_future(deed(session)) for deed in (first, stronger, undone)]
        await asyncio.sleep(0)
        assert not any(one.done() for one in later)
        looked.set()
        answered, again, much, withdrawn = await asyncio.gather(answering, *later, return_exceptions=True)
        assert isinstance(again, AssertionError), "the question was answered"
        assert isinstance(answered, Label) and isinstance(much, Label) and isinstance(withdrawn, Label)
        assert (answered.id, answered.strength, much.id, much.strength, withdrawn) == (1, 1, 2, 2, much)
        assert not session.writes.turn.locked() and not session.labels
        await session.close()

    asyncio.run(main())
    assert read_database(tmp_path / "l.db").newest == 4, "the answer, the stronger one in its place, its withdrawal"


def test_a_restart_goes_on_where_it_was_and_asks_no_prompt_again(tmp_path: Path) -> None:
    through = lived(tmp_path / "a.db", *[first] * 25)
    for _ in range(5):
        lived(tmp_path / "b.db", *[first] * 5)
    one, other_ = read_labels(tmp_path / "a.db"), read_labels(tmp_path / "b.db")
    assert [same(a) for a in one] == [same(b) for b in other_]
    own = [one.prompt for one in through.labels if one.repeats is None]
    assert len(set(own)) == len(own)


def same(label: Label) -> Label:
    """What of a label does not hang on the clock."""
    return replace(label, at=0.0, seconds=0.0)


def test_some_pairs_come_back_swapped_and_none_twice(tmp_path: Path) -> None:
    prompts = [f"prompt {number}" for number in range(500)]
    session = lived(tmp_path / "l.db", *[first] * 500, prompts=prompts)
    known = {one.id: place for place, one in enumerate(session.labels)}
    again = [(place, one) for place, one in enumerate(session.labels) if one.repeats is not None]
    assert 0.5 * REPEATED < len(again) / 500 < 2 * REPEATED
    assert len({one.repeats for _, one in again}) == len(again)
    for place, one in again:
        before = session.labels[known[one.repeats or 0]]
        assert (one.prompt, one.candidates, one.shown) == (before.prompt, before.candidates, before.shown[::-1])
        assert place - known[before.id] > REPEATED_AFTER
    figures = statistics_of(session.labels)
    assert figures.self_agreement.count == 0, "whoever always takes the first contradicts himself"
    assert figures.first.rate == 1.0


def test_no_pair_comes_back_twice_nor_one_that_has_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "REPEATED", 0.9)
    session = lived(tmp_path / "l.db", *[first] * 40)
    again = [one.repeats for one in session.labels if one.repeats is not None]
    assert len(set(again)) == len(again) > 10
    assert not set(again) & {one.id for one in session.labels if one.repeats is not None}


def test_two_labelers_get_the_same_pairs_and_an_agreement(tmp_path: Path) -> None:
    lived(tmp_path / "l.db", *[first] * 8, annotator="ann")
    lived(tmp_path / "l.db", *[first] * 6, *[second] * 2, annotator="bob")
    (found,) = annotator_agreements(read_labels(tmp_path / "l.db"))
    assert (found.agreed.count, found.agreed.cases) == (6, 8)


def test_after_all_prompts_they_return_with_other_responses(tmp_path: Path) -> None:
    session = lived(tmp_path / "l.db", first, second, first, undone, first, prompts=PROMPTS[:3])
    again = session.question
    assert again is not None and again.prompt == PROMPTS[0]
    before = {candidate.text for one in session.labels for candidate in one.candidates}
    assert before.isdisjoint(candidate.text for candidate in again.candidates)
    assert lived(tmp_path / "l.db", prompts=PROMPTS[:3]).question == again, "after a restart, too"
    later = lived(tmp_path / "l.db", *[first] * 4, prompts=PROMPTS[:3])
    assert later.question is not None and later.question.prompt == PROMPTS[1], "the third turn"


def test_a_session_reports_when_no_prompt_has_distinct_responses(tmp_path: Path) -> None:
    async def main() -> None:
        fake = FakeSampler()
        session = await opened(tmp_path / "l.db", prompts=PROMPTS[:3], sampler=fake)
        for prompt in PROMPTS[:3]:
            fake.say("a:sft", prompt, "same")
            fake.say("b:ppo", prompt, "same")
        while not session.finished:
            await first(session)
            await asked(session)
        drawn = len(fake.draws)
        await session.close()
        assert len(session.labels) < 20 and drawn < 40, "and nobody draws on and on"

    asyncio.run(main())


def test_conversations_are_asked_too(tmp_path: Path) -> None:
    async def main() -> None:
        turns = (Message("user", "hi"), Message("assistant", "hello"), Message("user", "and now?"))
        fake = FakeSampler()
        session = LabelSession(TWO, [turns], LabelStore(tmp_path / "l.db"), "ann", lambda: fake)
        await session.open()
        await asked(session)
        await session.answer(choice(0, 2))
        await session.close()
        assert read_labels(tmp_path / "l.db")[0].prompt == turns

    asyncio.run(main())


def test_the_opinion_of_the_scorer(tmp_path: Path) -> None:
    session = lived(tmp_path / "l.db", first)
    one = session.labels[0]
    scores = (1.0, 2.0)
    given = replace(
        one, candidates=tuple(replace(c, score=s) for c, s in zip(one.candidates, scores, strict=True)), ranks=(1, 0)
    )
    assert [scorer_agrees(replace(given, ranks=ranks)) for ranks in ((1, 0), (0, 1), (0, 0), None)] == [
        True,
        False,
        None,
        None,
    ]
    assert scorer_agrees(replace(given, candidates=(given.candidates[0], given.candidates[0]))) is None, (
        "equal scores say nothing"
    )
    nothing = replace(given, candidates=tuple(replace(candidate, score=None) for candidate in given.candidates))
    assert scorer_agrees(nothing) is None


def test_wins_of_the_second_model(tmp_path: Path) -> None:
    session = lived(tmp_path / "l.db", *[first] * 6, *[tied] * 2)
    wins = statistics_of(session.labels, TWO.models).wins
    b_first = sum(one.candidates[one.shown[0]].model == "b:ppo" for one in session.labels[:6])
    assert (wins.count, wins.cases) == (b_first, 6)


DEEDS: list[Deed] = [first, second, tied, skipped, edited, marked, undone, undone, stronger, other]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(DEEDS), max_size=25), st.integers(0, 25))
def test_a_restarted_session_equals_the_one_before(
    tmp_path_factory: pytest.TempPathFactory, deeds: list[Deed], cut: int
) -> None:
    path = tmp_path_factory.mktemp("any") / "l.db"
    lived(path, *deeds[:cut])
    through = lived(path, *deeds[cut:])
    stands = read_labels(path)
    assert [same(one) for one in through.labels] == [same(one) for one in stands]
    again = lived(path)
    assert again.labels == stands
    assert again.question is not None
    repeated = {one.id: one.prompt for one in stands}.get(again.question.repeats or 0)
    assert (again.question.prompt in {one.prompt for one in stands}) == (again.question.prompt == repeated)
