"""The chat screen: sending, streaming, stopping, undoing, sessions, the lens, several models."""

import json
from pathlib import Path

import pytest
from textual.content import Content

from engine.data.records import Message
from slmctl.chat.sessions import FOLDER, SessionFiles
from slmctl.tui.chat.replies import ReplyPane
from slmctl.worker.protocol import LensToken, SampledResponse
from tests.support.chat_mode import MODELS, Talk, make_run, talk

ANSWER = SampledResponse(
    "Yes, I am.", 5, True, 0.5, None, None, (LensToken("Yes,", -0.05, 0.01, 0.5), LensToken(" I am.", -4.0, -2.5, 1.5))
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_run(tmp_path)
    return tmp_path


def test_two_models_reply_with_all_measurements(home: Path) -> None:
    async def script(chat: Talk) -> None:
        chat.fake.say("tiny:ppo", "Hi", SampledResponse("Good day.", 3, True, 0.25))
        chat.fake.say("tiny:sft", "Hi", SampledResponse("Hi there and so", 4, False, 0.5))
        chat.fake.scores = {"Good day.": 1.5, "Hi there and so": -0.25}
        await chat.say("Hi")
        first, second = chat.shown()
        assert first == " 1 tiny:sft\nHi there and so\nreward -0.25 · KL: the reference · 4 tokens · 8/s · cut off"
        assert second == " 2 tiny:ppo\nGood day.\nreward +1.50 ▲ · KL 0.75 nats · 3 tokens · 12/s · ended"
        await chat.say("And?")
        draws = [(draw.model, draw.seed, draw.step, draw.ref, draw.scorer, draw.value) for draw in chat.fake.draws]
        assert draws == [
            ("tiny:sft", 0, 0, "", "tiny:rm", ""),
            ("tiny:ppo", 0, 0, "tiny:sft", "tiny:rm", "tiny:ppo/value"),
            ("tiny:sft", 0, 1, "", "tiny:rm", ""),
            ("tiny:ppo", 0, 1, "tiny:sft", "tiny:rm", "tiny:ppo/value"),
        ]
        assert chat.fake.draws[0].prompts == ["Hi"]
        (prompt,) = chat.fake.draws[3].prompts
        assert prompt == (Message("user", "Hi"), Message("assistant", "Good day."), Message("user", "And?"))

    talk(home, script)


def test_replies_stream_and_esc_stops_all_of_them(home: Path) -> None:
    async def script(chat: Talk) -> None:
        for model in MODELS:
            chat.fake.say(model, "Hi", f"one two three of {model}")
            chat.fake.hold(model)
        await chat.send("Hi")
        await chat.until(lambda: all(text.endswith("…\none") for text in chat.shown()), "the first words")
        await chat.press("escape")
        assert [text.splitlines()[1] for text in chat.shown()] == ["one", "one"]
        assert all("stopped" in text for text in chat.shown())
        assert [reply.stopped for reply in chat.screen.chat.turns[0].replies.values()] == [True, True]

    talk(home, script)


def test_esc_on_a_reply_stops_only_that_reply(home: Path) -> None:
    async def script(chat: Talk) -> None:
        holds = []
        for model in MODELS:
            chat.fake.say(model, "Hi", "one two three")
            holds.append(chat.fake.hold(model))
        await chat.send("Hi")
        await chat.until(lambda: all("one" in text for text in chat.shown()), "the first words")
        await chat.pilot.press("tab", "tab", "escape")
        await chat.until(lambda: chat.screen.chat.replying == {"tiny:sft"}, "one to have stopped")
        holds[0].set()
        await chat.settled()
        first, second = chat.shown()
        assert "one two three" in first and "ended" in first
        assert "two" not in second and "stopped" in second

    talk(home, script)


def test_esc_while_a_model_loads_leaves_an_empty_reply(home: Path) -> None:
    async def script(chat: Talk) -> None:
        hold = chat.fake.hold("tiny:sft")
        await chat.send("Hi")
        await chat.press("escape")
        hold.set()
        await chat.say("Again")
        assert "tiny:sft answers Again" in chat.shown()[-1]

    talk(home, script, models=("tiny:sft",))


def test_regenerate_takes_the_next_step_and_undo_the_prompt(home: Path) -> None:
    async def script(chat: Talk) -> None:
        await chat.say("One")
        await chat.say("Two")
        await chat.say("/regen")
        await chat.press("tab", "r")
        steps = [draw.step for draw in chat.fake.draws]
        assert steps == [0, 1, 2, 3]
        assert chat.fake.draws[1].prompts == chat.fake.draws[3].prompts
        assert "0.3.0" in chat.shown()[-1] and len(chat.panes()) == 2
        await chat.say("/undo")
        assert (chat.screen.box.text, len(chat.panes())) == ("Two", 1)
        await chat.press("enter")
        assert chat.fake.draws[-1].step == 1
        await chat.say("/undo")
        await chat.say("/undo")
        await chat.say("/undo")
        assert "nothing to undo" in chat.note()

    talk(home, script, models=("tiny:ppo",))


def test_a_branch_continues_in_a_copy(home: Path) -> None:
    async def script(chat: Talk) -> None:
        await chat.say("One")
        await chat.say("Two")
        first = chat.screen.chat.session.name
        await chat.say("/branch 1 other way")
        assert "other way" in chat.note()
        await chat.say("Three")
        sessions = SessionFiles(home)
        assert [turn.prompt for turn in sessions.load("other way").turns] == ["One", "Three"]
        assert [turn.prompt for turn in sessions.load(first).turns] == ["One", "Two"]
        await chat.say("/branch 9")
        assert "cannot copy 9 turns; the conversation has 2" in chat.note()

    talk(home, script, models=("tiny:ppo",))


def test_a_conversation_is_saved_after_every_turn_and_resumed(home: Path) -> None:
    async def first(chat: Talk) -> None:
        await chat.say("/system Be kind.")
        await chat.say("/set temperature=0.5 top-k=7 seed=3")
        await chat.say("One")
        await chat.say("/save greetings")
        await chat.say("Two")

    async def second(chat: Talk) -> None:
        assert chat.screen.chat.session == kept
        assert len(chat.panes()) == 4
        await chat.say("Three")
        draw = chat.fake.draws[-1]
        assert (draw.seed, draw.step, draw.sampling["temperature"], draw.sampling["top_k"]) == (3, 2, 0.5, 7)
        (prompt,) = draw.prompts
        assert prompt[0] == Message("system", "Be kind.") and len(prompt) == 6

    talk(home, first)
    assert [path.name for path in (home / FOLDER).iterdir()] == ["greetings.json"]
    kept = SessionFiles(home).load("greetings")
    talk(home, second, models=(), session="greetings")


def test_saved_conversations_are_listed_newest_first(home: Path) -> None:
    async def script(chat: Talk) -> None:
        await chat.say("/load")
        assert "there are no saved conversations yet" in chat.note()
        await chat.say("One")
        await chat.say("/save one")
        await chat.say("/new")
        await chat.say("Two")
        (home / FOLDER / "odd.json").write_text("{")
        await chat.say("/load odd")
        assert "odd.json is damaged" in chat.note() and chat.screen.box.text == "/load odd"
        await chat.say("/load")
        assert chat.over == "SessionsScreen"
        await chat.press("down", "down", "enter")
        assert chat.screen.chat.session.name == "one" and [turn.prompt for turn in chat.screen.chat.turns] == ["One"]

    talk(home, script)


def styles_of(pane: ReplyPane) -> set[str]:
    content = pane.content
    assert isinstance(content, Content)
    return {str(span.style) for span in content.spans}


def test_the_lens_explains_missing_kl(home: Path) -> None:
    async def script(chat: Talk) -> None:
        await chat.say("Hi")
        await chat.say("/lens kl")
        assert "this model is the reference, so its KL is 0" in chat.shown()[0]
        await chat.press("tab")
        assert ': "tiny:sft" · this model is the reference, so its KL is 0 · log-probability -0.500' in chat.shown()[0]
        assert "the reference" not in chat.shown()[1]
        await chat.say("/ref none")
        await chat.say("/regen")
        assert all(
            "no KL; choose a reference with /ref MODEL" in text and "KL: the" not in text for text in chat.shown()
        )

    talk(home, script)


def test_the_lens_shows_numbers_and_text_styles_beside_color(home: Path) -> None:
    async def script(chat: Talk) -> None:
        chat.fake.say("tiny:ppo", "Hi", ANSWER)
        await chat.say("Hi")
        await chat.press("tab", "t", "right")
        assert chat.line("legend").startswith("absolute KL:")
        (pane,) = chat.shown()
        assert 'token 2 of 2: " I am." · KL -2.500 · log-probability -4.000 · value +1.500' in pane
        styles = styles_of(chat.panes()[0])
        assert "reverse" in styles
        await chat.press("left")
        styles = styles_of(chat.panes()[0])
        assert any("bold" in style and "underline" in style for style in styles)
        seen = []
        for _ in range(3):
            await chat.press("t")
            seen.append(chat.line("legend").partition(":")[0])
        assert seen == ["absolute log-probability", "value", ""]
        assert "token" in chat.shown()[0] and "token 1 of" not in chat.shown()[0]

    talk(home, script, models=("tiny:ppo",))


def test_all_models_can_continue_from_one_reply(home: Path) -> None:
    async def script(chat: Talk) -> None:
        await chat.say("One")
        await chat.say("/follow 2")
        await chat.say("Two")
        assert chat.contents(-1) == chat.contents(-2) and "tiny:ppo answers One" in chat.contents(-1)[1]
        await chat.say("/follow none")
        await chat.say("Three")
        assert chat.contents(-1) != chat.contents(-2)

    talk(home, script)


def test_another_model_can_join_a_conversation(home: Path) -> None:
    async def script(chat: Talk) -> None:
        await chat.say("One")
        await chat.say("/model tiny:sft tiny:ppo@10")
        await chat.say("Two")
        assert [pane.by for pane in chat.panes()] == ["tiny:ppo", "tiny:sft", "tiny:ppo@10"]
        assert all("tiny:ppo answers One" in chat.contents(draw)[1] for draw in (-1, -2))
        assert [draw.ref for draw in chat.fake.draws[-2:]] == ["", "tiny:sft"]

    talk(home, script, models=("tiny:ppo",))


def test_a_model_that_cannot_be_opened_does_not_join(home: Path) -> None:
    async def script(chat: Talk) -> None:
        chat.fake.fail("nope", "model directory nope not found")
        await chat.send("/model tiny:sft nope")
        await chat.until(lambda: "model directory nope not found" in chat.note(), "the refusal")
        assert chat.screen.chat.session.models == ("tiny:ppo",)

    talk(home, script, models=("tiny:ppo",))


def test_replies_are_side_by_side_only_on_a_wide_screen(home: Path) -> None:
    async def script(chat: Talk) -> None:
        await chat.say("Hi")
        first, second = (pane.region for pane in chat.panes())
        wide = chat.app.size.width >= 100
        assert (first.y == second.y) == wide and (first.x == second.x) == (not wide)
        assert all(chat.app.screen.region.contains_region(region) for region in (first, second))

    for size in ((80, 24), (140, 45)):
        talk(home, script, size=size)


def test_a_session_is_plain_json(home: Path) -> None:
    async def script(chat: Talk) -> None:
        await chat.say("Hi")
        assert (
            json.loads(SessionFiles(home).path(chat.screen.chat.session.name).read_text())["turns"][0]["prompt"] == "Hi"
        )

    talk(home, script)
