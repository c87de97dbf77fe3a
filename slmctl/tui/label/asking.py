"""What a labeler is asked beside the vote: a note, an order, a better text. Each ends in a call with what was said."""

from collections.abc import Callable
from typing import Any

from textual.app import App

from engine.data.records import prompt_text
from slmctl.label.candidates import Question
from slmctl.label.ranks import parse_order
from slmctl.label.session import Answer, Labelling, ranking
from slmctl.tui.chat.dialogs import EditScreen
from slmctl.tui.label.line_dialog import AskScreen, WhichScreen


def ask_note(app: App[Any], labelling: Labelling, done: Callable[[], None]) -> None:
    """Asks for a note to the question, beginning with what there is."""
    question = labelling.question

    def noted(text: str | None) -> None:
        if text is not None and labelling.question is question:
            labelling.note = text.strip()
            done()

    app.push_screen(AskScreen("note", "enter keeps it with your vote · esc leaves it", labelling.note), noted)


def ask_order(app: App[Any], question: Question, done: Callable[[Answer, Question], None]) -> None:
    """Asks for an order of all responses."""
    count = len(question)

    def ordered(text: str | None) -> None:
        if text is not None:
            done(ranking(parse_order(text, count)), question)

    example = "2>1" if count == 2 else "2>1=3" if count == 3 else "2>1=3>4"
    hint = f"the best first: > is better, = as good; such as {example}"
    app.push_screen(AskScreen("order", hint, check=lambda text: parse_order(text, count)), ordered)


def ask_edit(app: App[Any], question: Question, done: Callable[[Answer, Question], None]) -> None:
    """Asks which response to begin with, and then for the better text."""

    def edited(text: str | None) -> None:
        if text is not None:
            done(Answer("edit", edited=text), question)

    def chosen(place: int | None) -> None:
        if place is not None:
            text = question.on_screen[place].text
            app.push_screen(EditScreen(prompt_text(question.prompt), f"response {place + 1}", text), edited)

    app.push_screen(WhichScreen(len(question)), chosen)
