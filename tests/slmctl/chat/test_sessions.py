"""Saving and loading sessions; damaged files are reported, and files of other processes never overwritten."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.errors import ConfigError, EngineError, FileError
from engine.rundir.directory import list_runs
from slmctl.chat.conversation import Reply, SavedVote, Turn
from slmctl.chat.sessions import Session, SessionFiles
from slmctl.worker.protocol import LensToken

REPLY = Reply(
    "Yo \x1b[31m", 3, True, False, 0.5, 1.25, "t:sft", -0.5, "t:rm", "t:ppo", "abc", True, "", "no KL",
    (LensToken("Yo", -0.125, 0.5, None), LensToken("", -1.5, None, 2.0)),
)  # fmt: skip
SESSION = Session(
    "one",
    ("t:ppo", "t:sft"),
    "Be kind.",
    {"temperature": 0.7, "max_new_tokens": 8},
    3,
    "t:sft",
    "t:rm",
    (
        Turn(
            "Hi \ud800",
            ("t:ppo", "t:sft"),
            2,
            3,
            "Be kind.",
            {"top_k": 5},
            {"t:ppo": REPLY},
            "t:ppo",
            SavedVote(7, "choice", "x.db", "t:ppo", 2),
        ),
    ),
    True,
)


def test_a_loaded_session_equals_the_saved_one(tmp_path: Path) -> None:
    kept = SessionFiles(tmp_path).save(SESSION)
    assert replace(kept, saved_at=0.0) == SESSION
    assert SessionFiles(tmp_path).load("one") == kept
    assert list_runs(tmp_path) == []


@settings(max_examples=50, deadline=None)
@given(words=st.text(st.characters(), max_size=20), number=st.floats(allow_nan=False, allow_infinity=False, width=16))
def test_any_text_is_saved_and_loaded(tmp_path_factory: pytest.TempPathFactory, words: str, number: float) -> None:
    reply = Reply(words, kl_nats=number, error=words, lens=(LensToken(words, 0.0),))
    session = replace(SESSION, system=words, turns=(Turn(words, replies={words: reply}),))
    sessions = SessionFiles(tmp_path_factory.mktemp("home"))
    assert sessions.load(sessions.save(session).name).turns == session.turns


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"schema": 3}', '{"schema": 2}', "[" * 100_000, "\x00"]
    + [json.dumps({"schema": 2, "models": models, "system": "", "turns": turns, "sampling": {}, "seed": seed, "ref": "",
                   "scorer": "", "named": 1, "saved_at": 0})
       for models, turns, seed in [(5, [], 0), ([5], [], 0), ([], 5, 0), ([], [{}], 0), ([], ["x"], 0), ([], [], "x")]],
)  # fmt: skip
def test_a_damaged_session_is_reported(tmp_path: Path, text: str) -> None:
    sessions = SessionFiles(tmp_path)
    sessions.folder.mkdir()
    sessions.path("odd").write_text(text)
    with pytest.raises(FileError, match=r"odd\.json is damaged"):
        sessions.load("odd")
    (listed,) = sessions.summaries()
    assert listed.name == "odd" and "damaged" in listed.damage


def test_names_are_sorted_by_time_and_checked(tmp_path: Path) -> None:
    sessions = SessionFiles(tmp_path)
    assert sessions.names() == []
    for name in ("b", "c", "a"):
        sessions.save(replace(SESSION, name=name))
    assert sessions.names() == ["a", "c", "b"]
    with pytest.raises(FileError, match=r"there is no session 'aa'; did you mean 'a'.*sessions: a, c, b"):
        sessions.load("aa")
    for name in ("", "../x", ".x", "-x", "a\x1b[0m", "a\nb", "x" * 101):
        with pytest.raises(ConfigError, match="is not a valid session name"):
            sessions.load(name)


def test_a_file_changed_by_another_process_is_not_overwritten(tmp_path: Path) -> None:
    mine, other = SessionFiles(tmp_path), SessionFiles(tmp_path)
    mine.save(SESSION)
    theirs = other.save(replace(other.load("one"), system="Theirs."))
    kept = mine.save(replace(SESSION, system="Mine."))
    assert (theirs.name, kept.name) == ("one", "one-2")
    assert [SessionFiles(tmp_path).load(name).system for name in ("one", "one-2")] == ["Theirs.", "Mine."]
    assert mine.save(kept).name == "one-2"


def test_renaming_deletes_only_an_automatic_name(tmp_path: Path) -> None:
    sessions = SessionFiles(tmp_path)
    kept = sessions.save(replace(SESSION, name=sessions.new_name(), named=False))
    renamed = sessions.rename(kept, "greetings")
    assert sessions.names() == ["greetings"] and renamed.named
    again = sessions.rename(renamed, "more")
    assert sorted(sessions.names()) == ["greetings", "more"]
    with pytest.raises(ConfigError, match="session 'greetings' already exists"):
        sessions.rename(again, "greetings")


def test_a_branch_does_not_change_the_original(tmp_path: Path) -> None:
    sessions = SessionFiles(tmp_path)
    two = sessions.save(replace(SESSION, turns=SESSION.turns * 2))
    branch = sessions.branch(two, 1)
    assert (branch.name, len(branch.turns)) == ("one-2", 1)
    assert len(sessions.load("one").turns) == 2
    assert sessions.branch(two, 2, "other").named
    with pytest.raises(ConfigError, match="already exists"):
        sessions.branch(two, 2, "other")


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / ".chats").write_text("a file")
    with pytest.raises(EngineError, match="the conversation cannot be saved to"):
        SessionFiles(tmp_path).save(SESSION)
