"""The fake sampler behaves as the tests of screens expect."""

import asyncio

import pytest

from engine.core.errors import CheckpointError
from slmctl.worker.protocol import SampleRequest, SamplerGone
from tests.support.fake_sampler import FakeSampler, pieces


def test_scripted_answers_come_in_pieces_of_their_text() -> None:
    async def drive() -> None:
        fake, heard = FakeSampler(), list[tuple[int, str]]()
        fake.say("tiny:sft", "hi", "one two\nthree", "four")
        wanted = SampleRequest("tiny:sft", ["hi"] * 3, ref="tiny:base", scorer="tiny:rm", lens=True)
        answers = await fake.sample(wanted, lambda row, text: heard.append((row, text))).responses()
        assert [answer.text for answer in answers] == ["one two\nthree", "four", "four"]
        assert heard == [(0, "one"), (1, "four"), (2, "four"), (0, " two"), (0, "\nthree")]
        assert answers[0].score == 1.3 and answers[0].kl_nats == 1.0
        assert [token.text for token in answers[0].lens] == pieces("one two\nthree") == ["one", " two", "\nthree"]
        assert fake.draws == [wanted]

    asyncio.run(drive())


def test_a_held_draw_waits_midway_and_may_be_stopped() -> None:
    async def drive() -> None:
        fake, heard = FakeSampler(), list[str]()
        fake.say("a", "hi", "one two three")
        hold = fake.hold("a")
        stopped, held = (fake.sample(SampleRequest("a", ["hi"]), lambda _, text: heard.append(text)) for _ in range(2))
        for _ in range(20):
            await asyncio.sleep(0)
        assert heard == ["one", "one"]
        stopped.stop()
        answer = (await stopped.responses())[0]
        assert (answer.text, answer.tokens, answer.finished) == ("one", 1, False)
        hold.set()
        assert (await held.responses())[0].text == "one two three"

    asyncio.run(drive())


def test_it_fails_and_dies_on_demand() -> None:
    async def drive() -> None:
        fake = FakeSampler()
        fake.fail("b", "b is broken")
        with pytest.raises(CheckpointError, match="b is broken"):
            await fake.load("b")
        with pytest.raises(CheckpointError, match="b is broken"):
            await fake.sample(SampleRequest("a", ["hi"], ref="b")).responses()
        fake.fail("b", None)
        assert not (await fake.load("b:base")).chat
        fake.hold("a")
        drawing = fake.sample(SampleRequest("a", ["hi"]))
        await asyncio.sleep(0)
        fake.die()
        with pytest.raises(SamplerGone):
            await drawing.responses()
        fake.say("c", "hi", "abc")
        [scored] = await fake.sample(SampleRequest("c", ["hi"], scorer="b")).responses()
        assert scored.score == 0.3
        fake.dead = True
        with pytest.raises(SamplerGone):
            await fake.load("b")

    asyncio.run(drive())
