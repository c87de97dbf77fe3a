"""The prompt for each model's next reply, and which replies can be compared."""

import pytest

from engine.data.records import Message
from slmctl.chat.conversation import (
    MOST_MODELS,
    ChatError,
    Reply,
    Turn,
    check_models,
    common_prompt,
    next_step,
    prompt_for,
)


def turn(prompt: str, step: int = 0, **replies: str) -> Turn:
    given = {name: Reply(text, finished=True, by=name) for name, text in replies.items()}
    return Turn(prompt, tuple(replies), step, replies=given)


def test_each_model_remembers_its_own_replies() -> None:
    turns = (turn("Hi", a="Hello.", b="Yo."), turn("How are you?"))
    assert prompt_for("a", True, turns) == (
        Message("user", "Hi"),
        Message("assistant", "Hello."),
        Message("user", "How are you?"),
    )
    assert [message.content for message in prompt_for("b", True, turns) if isinstance(message, Message)][1] == "Yo."


def test_a_system_prompt_turns_one_prompt_into_messages() -> None:
    assert prompt_for("a", True, (Turn("Hi"),)) == "Hi"
    assert prompt_for("a", True, (Turn("Hi", system="Be kind."),)) == (
        Message("system", "Be kind."),
        Message("user", "Hi"),
    )


def test_text_is_continued_verbatim_without_a_template() -> None:
    turns = (turn("Once upon", a=" a time,"), turn("", a=" a cat\n"), Turn("  slept", system="Be kind."))
    assert prompt_for("a", False, turns) == "Once upon a time, a cat\n  slept"


def test_failed_replies_are_skipped_new_models_see_others() -> None:
    failed = Turn("Hi", ("a", "b"), replies={"a": Reply(error="too long"), "b": Reply("Yo.", finished=True)})
    assert prompt_for("a", True, (failed, Turn("Again"))) == "Again"
    joined = prompt_for("c", True, (failed, Turn("Again")))
    assert joined == (Message("user", "Hi"), Message("assistant", "Yo."), Message("user", "Again"))


def test_replies_to_different_conversations_cannot_be_compared() -> None:
    first = turn("Hi", a="Hello.", b="Yo.")
    assert common_prompt(first.replies, (first,)) == "Hi"
    second = turn("And?", 1, a="1", b="2")
    with pytest.raises(ChatError, match="/follow"):
        common_prompt(second.replies, (first, second))
    followed = Turn("Hi", replies=first.replies, follow="b")
    assert common_prompt(second.replies, (followed, second)) == (
        Message("user", "Hi"),
        Message("assistant", "Yo."),
        Message("user", "And?"),
    )


def test_the_next_step_depends_only_on_the_turns() -> None:
    assert [next_step(()), next_step((turn("a", 0),)), next_step((turn("a", 0), turn("b", 4)))] == [0, 1, 5]


@pytest.mark.parametrize(
    ("models", "sentence"),
    [((), "at least one"), (tuple("abcde"), f"up to {MOST_MODELS}"), (("a", "a"), "a is named twice")],
)
def test_wrong_numbers_of_models_are_refused(models: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ChatError, match=sentence):
        check_models(models)
