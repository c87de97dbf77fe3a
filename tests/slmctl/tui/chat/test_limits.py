"""A chat without a template, context, sampler, measurement, disk or model: each is reported, and nothing is lost."""

from pathlib import Path

import pytest

from engine.core.errors import ConfigError
from engine.rundir.directory import write_text
from slmctl.chat.sessions import FOLDER
from slmctl.worker.protocol import SampleRequest
from tests.support.chat_mode import Talk, make_run, talk
from tests.support.fake_sampler import FakeSampler


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_run(tmp_path)
    return tmp_path


def test_a_base_model_continues_the_text_verbatim(home: Path) -> None:
    async def script(chat: Talk) -> None:
        assert "will continue it" in chat.line("earlier")
        chat.fake.say("tiny:base", "Once upon", " a time")
        chat.fake.say("tiny:base", "Once upon a time,  there", " was")
        await chat.say("Once upon")
        assert "Once upon a time" in chat.shown()[0].splitlines()
        await chat.say(",  there")
        await chat.say("")
        assert [draw.prompts for draw in chat.fake.draws] == [
            ["Once upon"],
            ["Once upon a time,  there"],
            ["Once upon a time,  there was"],
        ]
        assert "characters are continued verbatim" in chat.line("hint")
        await chat.say("/system Be kind.")
        assert "has no chat template and ignores it" in chat.note()

    talk(home, script, models=("tiny:base",))


class Forgetful(FakeSampler):
    """A sampler that can refuse a conversation as too long."""

    too_long = ""

    async def check(self, wanted: SampleRequest) -> None:
        if self.too_long:
            raise ConfigError(self.too_long)


def test_a_conversation_that_is_too_long_is_reported(home: Path) -> None:
    fake = Forgetful()

    async def script(chat: Talk) -> None:
        await chat.say("One")
        fake.too_long = "a prompt has 300 tokens, tiny:ppo reads 1 to 255: 'Two'"
        await chat.say("Two")
        assert "tiny:ppo reads 1 to 255" in chat.shown()[-1] and "new conversation with /new" in chat.shown()[-1]
        assert chat.screen.box.text == chat.screen.box.selected_text == "Two"
        fake.too_long = ""
        await chat.say("2")
        assert chat.contents(-1)[::2] == ["One", "2"]
        assert len(chat.panes()) == 2

    talk(home, script, models=("tiny:ppo",), fake=fake)


def test_a_single_turn_model_warns_at_the_second_turn(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_text(run.run_toml, 'schema = 2\n[config.world]\nname = "pocket"\n')

    async def script(chat: Talk) -> None:
        await chat.say("Hi")
        assert chat.note() == ""
        await chat.say("And now?")
        assert chat.note().startswith("tiny:sft and tiny:ppo: trained on single turns only")
        own = '[inputs.sft.data]\nkind = "file"\nreference = "mine.jsonl"\n'
        write_text(run.run_toml, f'schema = 2\n[config.world]\nname = "pocket"\n{own}')
        await chat.say("And now?")
        assert chat.note() == ""

    talk(tmp_path, script)


def test_a_sampler_that_dies_is_restarted_by_the_next_prompt(home: Path) -> None:
    async def script(chat: Talk) -> None:
        chat.fake.say("tiny:ppo", "Hi", "one two")
        hold = chat.fake.hold("tiny:ppo")
        await chat.send("Hi")
        await chat.until(lambda: "one" in chat.shown()[0], "the first word")
        chat.fake.die()
        await chat.settled()
        assert "one" in chat.shown()[0] and "the sampler has ended" in chat.shown()[0]
        assert chat.screen.box.text == "Hi"
        hold.set()
        await chat.press("enter")
        assert len(chat.panes()) == 1 and "one two" in chat.shown()[0]

    talk(home, script, models=("tiny:ppo",))


def test_a_failed_measurement_does_not_cost_the_reply(home: Path) -> None:
    async def script(chat: Talk) -> None:
        chat.fake.fail("tiny:sft", "tiny:sft has another tokenizer")
        await chat.say("Hi")
        assert "answers Hi" in chat.shown()[0] and "reward" in chat.shown()[0]
        assert "tiny:sft has another tokenizer" in chat.shown()[0] and "KL" not in chat.shown()[0].splitlines()[2]
        await chat.say("Again")
        assert "another tokenizer" not in chat.shown()[1]

    talk(home, script, models=("tiny:ppo",))


def test_the_first_screen_without_a_model_lists_models(home: Path) -> None:
    async def script(chat: Talk) -> None:
        assert "tiny:ppo, tiny:sft, tiny:base" in chat.line("earlier")
        await chat.say("Hi")
        assert "no model is selected" in chat.note()
        await chat.say("/model tiny:ppo")
        await chat.say("Hi")
        assert "tiny:ppo answers Hi" in chat.shown()[0]

    talk(home, script, models=())


def test_chat_continues_if_sessions_cannot_be_saved(home: Path) -> None:
    (home / FOLDER).write_text("a file")

    async def script(chat: Talk) -> None:
        await chat.say("Hi")
        assert "cannot be saved" in chat.note() and "(not saved)" in chat.line("head")
        await chat.say("Again")
        assert len(chat.panes()) == 4

    talk(home, script)
