"""Text from models, users and files on the chat screen: escape sequences are shown, never executed."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slmctl.chat.sessions import FOLDER
from slmctl.console.safe import clean
from slmctl.tui.chat.dialogs import EditArea
from slmctl.worker.protocol import LensToken, SampledResponse
from tests.support.chat_mode import MODELS, Talk, make_run, talk

HOSTILE = {
    "markup": "[@click=app.quit()]x[/] [/nope] [bold]b[/bold] [link=file:///etc]y[/link] \\[z [",
    "escapes": "\x1b]0;pwned\x07\x1b[2J\x1b[31mred\x1b]52;c;eA==\x07 \x9b31m \x85 \x90q\x9c",
    "direction": "a\u202egnp.exe\u2066\u2069\u200f b",
    "nothing": "\x00\x00\x7f",
    "long": "x" * 10_000,
    "many lines": "\n" * 500 + "end",
    "odd lines": "a\r\nb\rc\u2028d\u2029e\x0bf\x0cg",
    "wide": "東京👍🏽👩‍👩‍👧‍👦ﷺ" * 40,
    "marks": "Z" + "\u0300\u0489" * 400,
    "halves": "\ud800 \udfff",
    "variables": "$text-error {x} %s {{ }} `a` **b** <b>",
}


def is_harmless(text: str) -> bool:
    """Whether a text contains nothing that a terminal executes."""
    return clean(text) == text


def painted(chat: Talk) -> str:
    """Every character that the screen sends to the driver."""
    compositor = chat.app.screen._compositor
    return "\n".join("".join(segment.text for segment in strip) for strip in compositor.render_strips())


def drawn(text: str) -> SampledResponse:
    """A reply with a lens."""
    parts = [text[i : i + 7] for i in range(0, min(len(text), 700), 7)]
    return SampledResponse(text, 9, False, 0.1, lens=tuple(LensToken(part, -1.0, 0.3, 0.1) for part in parts))


TEXTS = ["\n".join(HOSTILE[name] for name in names) for names in (
    ("markup", "escapes", "direction", "nothing", "odd lines", "halves", "variables", "marks"),
    ("wide", "long"),
    ("many lines",),
)]  # fmt: skip


@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
def test_control_characters_of_prompts_and_replies_are_escaped(tmp_path: Path, size: tuple[int, int]) -> None:
    make_run(tmp_path)

    async def script(chat: Talk) -> None:
        for text in TEXTS:
            box = chat.screen.box
            box.focus()
            box.insert(text)
            assert is_harmless(box.text)
            for model in MODELS:
                chat.fake.say(model, box.text, drawn(text))
            await chat.pilot.press("enter")
            await chat.settled()
            assert [pane.reply.text for pane in chat.panes() if pane.reply] == [text, text]
            assert is_harmless(painted(chat))
            await chat.press("tab", "t", "y", "e")
            assert chat.over == "EditScreen" and is_harmless(chat.app.screen.query_one(EditArea).text)
            assert is_harmless(painted(chat))
            await chat.press("escape")
            await chat.pilot.click(offset=(4, 4))
            assert is_harmless(painted(chat) + chat.app.clipboard) and chat.over == "ChatScreen"
            await chat.say("/new")

    talk(tmp_path, script, size=size)


def test_control_characters_in_commands_are_escaped(tmp_path: Path) -> None:
    async def script(chat: Talk) -> None:
        for text in (TEXTS[0], HOSTILE["long"]):
            for command in ("system", "save", "load", "score", "model", "set", "branch", ""):
                await chat.say(f"/{command} {text}" if command else f"/{text}")
                assert is_harmless(painted(chat))

    talk(tmp_path, script)


def test_control_characters_in_names_are_escaped(tmp_path: Path) -> None:
    models = ("[@click=app.quit()]x[/]:ppo", "\x1b]0;pwned\x07\u202e:sft", "東京" * 30, "[/nope]" + "x" * 500)
    names = [text.replace("/", "|").replace("\0", "0")[:60] for text in HOSTILE.values()]
    (tmp_path / FOLDER).mkdir()
    for name in names:
        (tmp_path / FOLDER / f"{name.encode(errors='replace').decode()}.json").write_text("{")

    async def script(chat: Talk) -> None:
        await chat.say("Hi")
        assert is_harmless(painted(chat))
        await chat.press("tab", "t", "2", "left_square_bracket")
        assert is_harmless(painted(chat))
        await chat.say("/load")
        assert chat.over == "SessionsScreen" and is_harmless(painted(chat))
        await chat.press("down", "enter")
        assert is_harmless(painted(chat))

    talk(tmp_path, script, models=models, size=(140, 45), db=str(tmp_path / "\x1b[31m[/x].db"))


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(st.characters(), min_size=20, max_size=60), min_size=20, max_size=20))
def test_any_text_can_be_shown(tmp_path: Path, texts: list[str]) -> None:
    async def script(chat: Talk) -> None:
        chat.fake.say("a", "Hi", drawn("".join(texts)))
        chat.fake.fail("b", "".join(texts))
        await chat.say("Hi")
        assert is_harmless(painted(chat))
        await chat.press("tab", "t")
        assert is_harmless(painted(chat))

    talk(tmp_path, script, models=("a", "b"))
