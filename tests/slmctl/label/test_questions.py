"""Questions that are made ahead: different responses, blind sides, the least certain pairs, prompts that cannot be
asked, samplers that die."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from engine.core.errors import CheckpointError, ConfigError, EngineError
from engine.data.labels.store import Candidate
from engine.data.records import Prompt, prompt_key
from slmctl.label.questions import DEPTH, IDENTICAL, Question, QuestionQueue, Recipe
from slmctl.worker.protocol import OnText, SampledResponse, SampleRequest
from tests.support.fake_sampler import FakeSampler, FakeSampleTask

PROMPTS = [f"prompt {number}" for number in range(40)]
ONE, TWO = Recipe(("a:sft",)), Recipe(("a:sft", "b:ppo"))


@dataclass
class Picky(FakeSampler):
    """Refuses draws with a prompt that holds a word, all of a draw together, as the child does."""

    word: str = "long"

    def sample(self, wanted: SampleRequest, on_text: OnText | None = None) -> FakeSampleTask:
        self.fail(wanted.model, "too long" if any(self.word in str(prompt) for prompt in wanted.prompts) else None)
        drawing = super().sample(wanted, on_text)
        return drawing


def never(prompt: Prompt) -> int:
    """How often a prompt was answered where none was."""
    return 0


def collected(
    recipe: Recipe,
    sampler: FakeSampler,
    prompts: Sequence[Prompt] = PROMPTS,
    answered: Sequence[str] = (),
    after: Callable[[QuestionQueue], None] = lambda queue: None,
) -> tuple[list[Question], QuestionQueue]:
    """All questions that a queue gives, and the queue; `after` is called once it has come to a stop."""

    async def main() -> tuple[list[Question], QuestionQueue]:
        known = {prompt_key(prompt) for prompt in answered}
        queue = QuestionQueue(
            recipe, prompts, lambda prompt: prompt_key(prompt) in known, lambda: sampler, lambda: None
        )
        found = await drained(queue)
        after(queue)
        return found + (await drained(queue) if queue.error is None else []), queue

    return asyncio.run(main())


async def drained(queue: QuestionQueue) -> list[Question]:
    """The questions of a queue until it stops."""
    found = list[Question]()
    queue.start()
    while queue.error is None and not (queue.exhausted and not queue.ready):
        if (question := queue.take()) is not None:
            found.append(question)
        await asyncio.sleep(0)
    await queue.close()
    return found


def texts(question: Question) -> list[str]:
    return [candidate.text for candidate in question.candidates]


def test_each_prompt_gives_a_question_with_distinct_responses() -> None:
    found, _ = collected(ONE, FakeSampler())
    assert [question.prompt for question in found] == PROMPTS
    assert all(len(set(texts(question))) == 2 for question in found)
    assert {question.selection for question in found} == {"random"}


def test_questions_follow_from_the_seed() -> None:
    first, _ = collected(TWO, FakeSampler())
    assert collected(TWO, FakeSampler())[0] == first
    assert [texts(question) for question in collected(replace(TWO, seed=1), FakeSampler())[0]] != list(
        map(texts, first)
    )


def test_answered_prompts_are_skipped_without_changing_others() -> None:
    everything, _ = collected(ONE, FakeSampler())
    rest, _ = collected(ONE, FakeSampler(), answered=[*PROMPTS[:5], PROMPTS[9].upper()])
    assert rest == [question for place, question in enumerate(everything) if place >= 5 and place != 9]


def test_of_two_models_each_gives_one_on_either_side() -> None:
    found, _ = collected(TWO, FakeSampler())
    assert all([candidate.model for candidate in question.candidates] == ["a:sft", "b:ppo"] for question in found)
    sides = Counter(question.on_screen[0].model for question in found)
    assert min(sides["a:sft"], sides["b:ppo"]) >= 10
    seeds = {candidate.model: candidate.seed for candidate in found[0].candidates}
    assert len(set(seeds.values())) == 2, "two models that share their draws say the same too often"


def test_a_response_says_how_to_draw_it_again() -> None:
    found, _ = collected(replace(ONE, k=3, sampling={"temperature": 0.5}), FakeSampler())
    for candidate in [candidate for question in found for candidate in question.candidates]:
        how = candidate.sampling
        assert candidate.text.endswith(f"by draw {candidate.seed}.{how['step']}.{how['row']}")
        assert (how["temperature"], candidate.checkpoint) == (0.5, "hash of a:sft")


def test_equal_responses_are_redrawn_with_doubled_counts() -> None:
    sampler = FakeSampler()
    sampler.say("a:sft", "p", "same", " same", "same ", "other")
    found, queue = collected(ONE, sampler, ["p"])
    assert [len(draw.prompts) for draw in sampler.draws] == [2, 2, 4]
    assert texts(found[0]) == ["same", "other"]
    assert queue.left_out[IDENTICAL] == 0


def test_a_prompt_with_a_single_answer_is_skipped_and_counted() -> None:
    sampler = FakeSampler()
    sampler.say("a:sft", "p", "same")
    found, queue = collected(ONE, sampler, ["p", "q"])
    assert [question.prompt for question in found] == ["q"]
    assert queue.left_out[IDENTICAL] == 1
    again = [len(draw.prompts) for draw in sampler.draws if set(draw.prompts) == {"p"}]
    assert again == [2, 4, 8], "only the prompt that needs it is asked again"


def test_two_models_that_agree_give_their_next_draws() -> None:
    sampler = FakeSampler()
    sampler.say("a:sft", "p", "same")
    sampler.say("b:ppo", "p", "same", "other")
    found, _ = collected(TWO, sampler, ["p"])
    assert texts(found[0]) == ["same", "other"]


def test_fewer_distinct_responses_still_make_a_question() -> None:
    sampler = FakeSampler()
    sampler.say("a:sft", "p", "x", "y", "x")
    found, _ = collected(replace(ONE, k=4), sampler, ["p"])
    assert texts(found[0]) == ["x", "y"]


def test_uncertainty_shows_the_pair_with_the_closest_scores() -> None:
    sampler = FakeSampler(scores={"u": 0.0, "v": 3.0, "w": 1.0, "x": 1.2, "y": 9.0, "z": 5.0})
    for prompt in PROMPTS:
        sampler.say("a:sft", prompt, *"uvwxyz" * 8)  # rows are counted through all prompts of a draw
    recipe = replace(ONE, scorer="a:rm", selection="uncertainty", control=0.5)
    found, _ = collected(recipe, sampler)
    assert {draw.scorer for draw in sampler.draws} == {"a:rm"}
    by_selection: dict[str, list[list[str]]] = {}
    for question in found:
        by_selection.setdefault(question.selection, []).append(texts(question))
    assert by_selection["uncertainty"] == [["w", "x"]] * len(by_selection["uncertainty"])
    assert by_selection["control"] == [["u", "v"]] * len(by_selection["control"]), "as they were drawn"
    assert 10 <= len(by_selection["control"]) <= 30
    assert collected(replace(recipe, control=0.0), sampler)[0][0].candidates[0].score == 1.0


def test_uncertainty_of_two_models_takes_one_of_each() -> None:
    sampler = FakeSampler(scores={"u": 0.0, "v": 3.0, "w": 1.0, "x": 2.0, "y": 9.0, "z": 5.9})
    sampler.say("a:sft", "p", "u", "v", "w")
    sampler.say("b:ppo", "p", "x", "y", "z")
    found, _ = collected(replace(TWO, scorer="a:rm", selection="uncertainty", control=0.0), sampler, ["p"])
    assert sorted(texts(found[0])) in (["v", "x"], ["w", "x"])
    assert [candidate.model for candidate in found[0].candidates] == ["a:sft", "b:ppo"]


def test_an_unusable_prompt_is_skipped_and_counted() -> None:
    prompts = ["p", "long one", *PROMPTS, "long two"]
    found, queue = collected(ONE, Picky(), prompts)
    assert [question.prompt for question in found] == ["p", *PROMPTS]
    assert queue.left_out["too long"] == 2
    assert queue.error is None


def test_without_a_usable_prompt_the_reason_is_reported() -> None:
    found, queue = collected(ONE, Picky(word="prompt"))
    assert found == []
    assert str(queue.error) == "too long"


def test_a_model_that_cannot_be_opened_is_reported_and_retried() -> None:
    sampler = FakeSampler()
    sampler.fail("a:sft", "it is torn")

    def mended(queue: QuestionQueue) -> None:
        assert isinstance(queue.error, CheckpointError) and str(queue.error) == "it is torn"
        sampler.fail("a:sft", None)
        queue.error = None

    assert len(collected(ONE, sampler, after=mended)[0]) == len(PROMPTS)


def test_a_dead_sampler_is_restarted_without_losing_questions() -> None:
    async def main() -> None:
        sampler = FakeSampler()
        held = sampler.hold("a:sft")
        queue = QuestionQueue(ONE, PROMPTS, never, lambda: sampler, lambda: None)
        queue.start()
        while not sampler.draws:
            await asyncio.sleep(0)
        sampler.die()
        held.set()
        assert [question.prompt for question in await drained(queue)] == PROMPTS
        assert [name for name, _ in sampler.loads] == ["a:sft", "a:sft"], "the next child has to load again"

    asyncio.run(main())


def test_repeatedly_dying_samplers_are_reported() -> None:
    def revived(queue: QuestionQueue) -> None:
        assert "has ended" in str(queue.error)
        sampler.dead, queue.error = False, None

    sampler = FakeSampler(dead=True)
    assert len(collected(ONE, sampler, after=revived)[0]) == len(PROMPTS)


def test_some_questions_are_kept_ready_and_no_more() -> None:
    async def main() -> None:
        sampler = FakeSampler()
        queue = QuestionQueue(ONE, PROMPTS, never, lambda: sampler, lambda: None)
        queue.start()
        for _ in range(500):
            await asyncio.sleep(0)
        assert DEPTH <= len(queue.ready) < 2 * DEPTH
        drawn = len(sampler.draws)
        queue.take()
        for _ in range(500):
            await asyncio.sleep(0)
        assert len(sampler.draws) <= drawn + 1
        assert all(draw.background for draw in sampler.draws)
        await queue.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (Recipe(()), "one or two models, got 0"),
        (Recipe(("a", "b", "c")), "one or two models, got 3"),
        (Recipe(("a",), k=1), "-k must be 2 to 9, got 1"),
        (Recipe(("a",), k=10), "-k must be 2 to 9, got 10"),
        (Recipe(("a", "b"), k=3), "two models give one response each, so -k cannot be 3"),
        (Recipe(("a",), selection="best"), "must be random or uncertainty"),
        (Recipe(("a",), selection="uncertainty"), "needs a reward model"),
        (Recipe(("a",), control=1.5), "must be a fraction, 0 to 1, got 1.5"),
    ],
)
def test_recipes_that_cannot_be_followed(recipe: Recipe, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        recipe.check()


def test_an_answer_that_was_cut_off_is_marked() -> None:
    sampler = FakeSampler()
    sampler.say("a:sft", "p", SampledResponse("so far", 3, False), SampledResponse("whole", 2, True))
    (question,), _ = collected(ONE, sampler, ["p"])
    assert question.candidates == (
        Candidate("so far", "a:sft", "hash of a:sft", question.candidates[0].seed, {"step": 0, "row": 0}, 3, False),
        Candidate("whole", "a:sft", "hash of a:sft", question.candidates[0].seed, {"step": 0, "row": 1}, 2, True),
    )


def test_other_responses_to_a_prompt() -> None:
    async def main() -> None:
        sampler = FakeSampler()
        queue = QuestionQueue(TWO, ["p"], never, lambda: sampler, lambda: None)
        (before,) = await drained(queue)
        first, second = await queue.resample(before, 1), await queue.resample(before, 2)
        assert first is not None and second is not None
        assert len({candidate.text for one in (before, first, second) for candidate in one.candidates}) == 6
        assert not sampler.draws[-1].background, "somebody waits for it"
        sampler.say("a:sft", "p", "same")
        sampler.say("b:ppo", "p", "same")
        assert await queue.resample(before, 3) is None
        sampler.fail("a:sft")
        with pytest.raises(EngineError):
            await queue.resample(before, 4)

    asyncio.run(main())
