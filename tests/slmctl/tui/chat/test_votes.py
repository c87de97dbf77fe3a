"""Votes and edits reach the label database before the screen reports them, even if it was locked."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from textual.events import Key

from engine.core.errors import LockedError
from engine.data.labels.store import Label, LabelStore, read_labels
from engine.data.records import Message
from slmctl.label.setup import labels_path
from slmctl.tui.chat.dialogs import EditArea
from slmctl.worker.protocol import SampledResponse
from tests.support.chat_mode import Talk, labels, make_run, talk
from tests.support.label_databases import locked


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_run(tmp_path)
    return tmp_path


def test_a_vote_is_on_disk_before_the_screen_reports_it(home: Path) -> None:
    async def script(chat: Talk) -> None:
        chat.fake.say("tiny:ppo", "Hi", SampledResponse("Good day.", 3, True, 0.25, score=1.5))
        await chat.say("Hi")
        await chat.press("tab", "2")
        (label,) = labels(home)
        assert f"tiny:ppo is better: saved as row {label.id}" in chat.note()
        assert "★ better" in chat.shown()[1]
        assert (label.annotator, label.verdict, label.ranks, label.strength) == (
            "ann",
            "choice",
            (1, 0),
            1,
        )
        assert (label.prompt, label.selection) == ("Hi", "chat")
        better = label.candidates[1]
        assert (better.model, better.checkpoint, better.text) == ("tiny:ppo", "hash of tiny:ppo", "Good day.")
        assert (better.tokens, better.finished, better.score, better.seed) == (3, True, 1.5, 0)
        assert better.sampling == {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "max_new_tokens": 64, "step": 0}

    talk(home, script)


def test_a_vote_can_be_repeated_changed_and_withdrawn(home: Path) -> None:
    async def script(chat: Talk) -> None:
        await chat.say("Hi")
        await chat.press("tab", "1")
        await chat.press("1")
        (much,) = labels(home)
        assert (much.ranks, much.strength) == ((0, 1), 2) and "★ much better" in chat.shown()[0]
        await chat.press("1")
        assert "already saved" in chat.note() and labels(home) == [much]
        await chat.press("0")
        (tie,) = labels(home)
        assert (tie.verdict, tie.ranks) == ("tie", (0, 0)) and "★" not in "".join(chat.shown())
        await chat.press("x")
        (bad,) = labels(home)
        assert bad.verdict == "both_bad"
        await chat.press("backspace")
        assert labels(home) == [] and "is withdrawn" in chat.note()
        await chat.press("backspace")
        assert "this turn has no vote or edit" in chat.note()
        await chat.say("/vote 2")
        await chat.say("/vote 2")
        assert labels(home)[0].strength == 2

    talk(home, script)


def test_votes_of_a_loaded_session_can_be_withdrawn(home: Path) -> None:
    async def first(chat: Talk) -> None:
        await chat.say("Hi")
        await chat.say("/save it")
        await chat.press("tab", "2")

    async def second(chat: Talk) -> None:
        assert "★ better" in chat.shown()[1]
        await chat.press("tab", "backspace")
        assert labels(home) == [] and "★" not in chat.shown()[1]

    async def third(chat: Talk) -> None:
        await chat.say("Hi")
        await chat.say("/save two")
        await chat.press("tab", "2")

    async def elsewhere(chat: Talk) -> None:
        (mine,) = labels(home)
        with LabelStore(home / "other.db") as store:
            while store.add(Label("bob", "x", (), "skip")) < mine.id:
                pass
            await chat.press("tab", "1")
            assert [label.annotator for label in store.standing()] == ["bob"] * mine.id + ["ann"]
        assert labels(home) == [mine]  # row numbers of one file mean nothing in another

    talk(home, first)
    talk(home, second, models=(), session="it")
    talk(home, third)
    talk(home, elsewhere, models=(), session="two", db=str(home / "other.db"))


def test_votes_wait_for_a_locked_database(home: Path) -> None:
    async def script(chat: Talk) -> None:
        await chat.say("Hi")
        await chat.press("tab", "2")
        with locked(home / "tiny" / "labels.db"):
            await chat.pilot.press("1")
            await chat.until(lambda: "labels.db is locked by another process; waiting to save" in chat.note())
            await chat.pilot.press("0")
            await chat.until(lambda: "waiting to save" in chat.note(), "the same of the second vote")
        await chat.settled()
        assert "tie: saved as row" in chat.note()
        (kept,) = labels(home)
        assert kept.verdict == "tie"

    async def left(chat: Talk) -> None:
        await chat.say("Hi")
        held.enter_context(locked(home / "tiny" / "labels.db"))
        await chat.pilot.press("tab", "1")
        await chat.until(lambda: "waiting to save" in chat.note())

    talk(home, script)
    said = r"labels\.db is locked by another process; .* may not have been saved"
    with ExitStack() as held, pytest.raises(LockedError, match=said):
        talk(home, left)
    assert len(labels(home)) == 1


def test_withdrawals_wait_for_the_database_of_the_vote(home: Path) -> None:
    async def first(chat: Talk) -> None:
        await chat.say("Hi")
        await chat.say("/save it")
        await chat.press("tab", "2")

    async def elsewhere(chat: Talk) -> None:
        await chat.pilot.press("tab")
        held.enter_context(locked(home / "tiny" / "labels.db"))
        await chat.pilot.press("backspace")
        await chat.until(lambda: "waiting to save" in chat.note())
        assert chat.note().startswith("labels.db is locked")

    talk(home, first)
    with ExitStack() as held, pytest.raises(LockedError, match=r"tiny/labels\.db is locked"):
        talk(home, elsewhere, models=(), session="it", db=str(home / "other.db"))


def test_a_vote_withdrawn_in_another_window_is_reported(home: Path) -> None:
    async def script(chat: Talk) -> None:
        await chat.say("Hi")
        await chat.press("tab", "1")
        (vote,) = labels(home)
        with LabelStore(home / "tiny" / "labels.db") as store:
            store.withdraw(vote.id, vote.annotator)
        await chat.press("2")
        assert f"label {vote.id} was withdrawn already" in chat.note() and "★" not in chat.shown()[0]
        assert labels(home) == []
        await chat.press("2")
        assert len(labels(home)) == 1

    talk(home, script)


def test_a_vote_for_one_of_four_replies(home: Path) -> None:
    async def script(chat: Talk) -> None:
        await chat.say("Hi")
        await chat.press("tab", "3")
        (label,) = labels(home)
        assert label.ranks == (1, 1, 0, 1)
        await chat.press("4")
        assert labels(home)[0].ranks == (1, 1, 1, 0)

    talk(home, script, models=("tiny:sft", "tiny:ppo@10", "tiny:ppo@20", "tiny:ppo"), size=(140, 45))


def test_replies_that_cannot_be_compared_are_reported(home: Path) -> None:
    async def script(chat: Talk) -> None:
        hold = chat.fake.hold("tiny:ppo")
        await chat.send("Hi")
        await chat.pilot.press("tab", "1")
        assert "wait for the replies to finish" in chat.note()
        hold.set()
        await chat.settled()
        assert chat.note() == ""
        await chat.press("3")
        assert "there is no reply 3 in this turn" in chat.note()
        await chat.say("And?")
        await chat.press("tab", "1")
        assert "answer different conversations" in chat.note() and "/follow" in chat.note()
        await chat.say("/follow 2")
        await chat.say("More?")
        await chat.press("tab", "1")
        (label,) = labels(home)
        assert isinstance(label.prompt, tuple)
        assert label.prompt[1] == Message("assistant", "tiny:ppo answers Hi by draw 0.0.0")
        await chat.say("/model tiny:ppo")
        await chat.say("Alone?")
        await chat.press("tab", "1")
        assert "a vote needs two replies" in chat.note()

    talk(home, script)


def test_votes_on_models_without_a_run_go_to_this_folder(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    models = ("/models/a", "/models/b")

    async def script(chat: Talk) -> None:
        assert "saved to labels.db" in chat.line("earlier")
        await chat.say("Hi")
        await chat.press("tab", "1")
        assert "row 1 of labels.db" in chat.note()

    talk(home, script, models=models)
    (label,) = read_labels(labels_path(None, None))
    assert label.candidates[0].model == "/models/a"


def test_a_damaged_label_database_is_reported(home: Path) -> None:

    async def damaged(chat: Talk) -> None:
        await chat.say("Hi")
        await chat.press("tab", "1")
        assert "cannot use label database" in chat.note() and "★" not in "".join(chat.shown())

    (home / "x.db").write_bytes(b"no database at all" * 100)
    talk(home, damaged, db=str(home / "x.db"))


def test_keys_typed_fast_before_enter_are_part_of_the_edit(home: Path) -> None:
    async def script(chat: Talk) -> None:
        await chat.say("Hi")
        await chat.press("tab", "e")
        for key in ("ctrl+j", *"Yes", "enter"):
            chat.app.post_message(Key(key, key if len(key) == 1 else None))
        await chat.until(lambda: chat.over == "ChatScreen", "the edit")
        await chat.settled()
        assert str(labels(home)[0].edited).endswith("\nYes")

    talk(home, script)


def test_an_edited_reply_is_saved_as_a_demonstration(home: Path) -> None:
    async def script(chat: Talk) -> None:
        await chat.say("Hi")
        await chat.press("tab", "e")
        assert chat.over == "EditScreen"
        await chat.pilot.press("enter")
        assert chat.over == "EditScreen" and labels_or_none(home) == []
        area = chat.app.screen.query_one(EditArea)
        area.load_text("Hello.\x1b[31m")
        await chat.press("enter")
        (edit,) = labels(home)
        assert (edit.verdict, edit.edited, edit.prompt, edit.ranks) == ("edit", "Hello.␛[31m", "Hi", None)
        assert [candidate.model for candidate in edit.candidates] == ["tiny:sft"]
        assert "★ edited" in chat.shown()[0] and "saved as a demonstration" in chat.note()
        await chat.press("e", "x", "enter")
        assert len(labels(home)) == 1  # the later text replaces the earlier one
        await chat.press("2", "backspace", "backspace")
        assert labels(home) == []
        await chat.press("e", "escape")
        assert chat.over == "ChatScreen"

    talk(home, script)


def labels_or_none(home: Path) -> list[Label]:
    return labels(home) if (home / "tiny" / "labels.db").exists() else []


def test_another_labeler_can_write_at_the_same_time(home: Path) -> None:
    async def script(chat: Talk) -> None:
        await chat.say("Hi")
        with LabelStore(home / "tiny" / "labels.db") as store:
            store.add(Label("bob", "x", (), "skip"))
            await chat.press("tab", "1")
            assert [label.annotator for label in store.standing()] == ["bob", "ann"]

    talk(home, script)
