"""What a chat is made of while it goes on: the session, who still answers, and other checkpoints' replies.

Knows no screen and no sampler: its methods change the state and say what is to be drawn (Wanted). Each draw of a turn
has a serial number, so that an answer that comes late for a draw taken back is known.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from slmctl.chat.conversation import Judged, Reply, Turn, Unfit, next_step, text_so_far
from slmctl.chat.run_models import Around, look_around
from slmctl.chat.sessions import Session

REPLIES_COME = "wait until the replies have ended, or stop them with esc"


@dataclass(frozen=True)
class Wanted:
    """One reply to draw: `by`, a checkpoint, answers the last of `turns` with the memory of `model`, in its place."""

    serial: int
    model: str
    by: str
    turns: tuple[Turn, ...]
    ref: str = ""
    scorer: str = ""
    value: str = ""
    background: bool = False

    @property
    def key(self) -> tuple[int, str, str]:
        """What tells it from other draws."""
        return self.serial, self.model, self.by


class Chat:
    """The state of one chat; `home` is the folder of the runs."""

    def __init__(self, home: Path, session: Session) -> None:
        self.home = home
        self.around = Around()
        self._serial = 0
        self.open(session)

    def look_around(self) -> None:
        """Finds out what goes with the models now. Reads files: not for the loop of a screen."""
        session = self.session
        self.around = look_around(session.models, self.home, session.ref, session.scorer)

    def open(self, session: Session) -> None:
        """Goes on with another session."""
        self.session = session
        self.serials = [self._next_serial() for _ in session.turns]
        self.answering: set[str] = set()
        self.looked_at: dict[tuple[int, str], str] = {}
        self.along: dict[tuple[int, str, str], Reply] = {}
        replies = (reply for turn in session.turns for reply in turn.replies.values() if not reply.error)
        self.chatty = {reply.by: reply.chat for reply in replies}  # whether a model has a chat template, once known

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns so far."""
        return self.session.turns

    @property
    def busy(self) -> bool:
        """Whether somebody still answers."""
        return bool(self.answering)

    def continues(self) -> bool:
        """Whether none of the models has a chat template, so that text is continued."""
        return bool(self.session.models) and not any(self.chatty.get(model, True) for model in self.session.models)

    def send(self, text: str) -> list[Wanted]:
        """Adds a turn, and says what is to be drawn. A last turn that nobody could answer is forgotten.

        Raises: Unfit while somebody still answers, or where there is no model or nothing to answer.
        """
        self._refuse_if_busy()
        if not self.session.models:
            raise Unfit("there is no model to talk to yet; type /model and a name, such as /model tiny:ppo")
        self.forget_failed()
        if not text.strip() and not (self.continues() and (text or self.turns)):
            raise Unfit("type the beginning of a text" if self.continues() else "type something to send")
        session = self.session
        turn = Turn(text, session.models, next_step(self.turns), session.seed, session.system, dict(session.sampling))
        self.session = replace(session, turns=(*session.turns, turn))
        self.serials.append(self._next_serial())
        return self._all_models()

    def beyond(self) -> list[str]:
        """The models that the last turn asks for more than they have learnt: a second turn after single questions."""
        return [model for model in self.around.single if len(self.turns) > 1 and model in self.session.models]

    def regenerate(self) -> list[Wanted]:
        """Has the last turn answered again from the next step of the seed, with the settings of now.

        Raises: Unfit where there is no turn, or somebody still answers.
        """
        self._refuse_if_busy()
        if not self.turns:
            raise Unfit("there is nothing to regenerate yet")
        last, session = self.turns[-1], self.session
        step = last.step + 1 if last.replies else last.step
        turn = Turn(last.prompt, session.models, step, session.seed, session.system, dict(session.sampling))
        self.session = session.with_turn(turn)
        self.serials[-1] = self._next_serial()
        return self._all_models()

    def undo(self) -> str:
        """Takes the last turn back, and returns its prompt. Raises: Unfit where there is none, or one is answered."""
        self._refuse_if_busy()
        if not self.turns:
            raise Unfit("there is nothing to undo")
        prompt = self.turns[-1].prompt
        self._drop_last()
        return prompt

    def forget_failed(self) -> bool:
        """Drops a last turn that nobody could answer, and says whether there was one."""
        if self.busy or not self.turns or not self.turns[-1].failed:
            return False
        self._drop_last()
        return True

    def take(self, wanted: Wanted, reply: Reply) -> bool:
        """Keeps an answer; False for one that nobody waits for any more."""
        if wanted.serial not in self.serials:
            return False
        if not reply.error:
            self.chatty[wanted.by] = reply.chat
        if wanted.by != wanted.model:
            self.along[wanted.key] = reply
            return True
        if wanted.serial != self.serials[-1] or wanted.model not in self.answering:
            return False
        self.answering.discard(wanted.model)
        self.session = self.session.with_turn(self.turns[-1].with_reply(wanted.model, reply))
        return True

    def change_turn(self, serial: int, change: Callable[[Turn], Turn]) -> None:
        """Changes one turn, if it is still there."""
        if serial in self.serials:
            at = self.serials.index(serial)
            turns = (*self.turns[:at], change(self.turns[at]), *self.turns[at + 1 :])
            self.session = replace(self.session, turns=turns)

    def follow(self, model: str) -> None:
        """Lets all models go on from the replies of one, in every turn so far where it has any; "" ends that."""
        turns = (replace(turn, follow=model if model in turn.models else "") for turn in self.turns)
        self.session = replace(self.session, turns=tuple(turns))

    def judge(self, serial: int, judged: Judged | None, edited: Judged | None) -> None:
        """Notes what a person has said about a turn."""
        self.change_turn(serial, lambda turn: replace(turn, judged=judged, edited=edited))

    def turn_of(self, serial: int) -> Turn:
        """The turn of a serial number."""
        return self.turns[self.serials.index(serial)]

    def shown(self, serial: int, model: str) -> Reply | None:
        """The reply that stands in a model's place: its own, or that of the checkpoint that is looked at."""
        by = self.looked_at.get((serial, model), model)
        return self.turn_of(serial).replies.get(model) if by == model else self.along.get((serial, model, by))

    def look(self, serial: int, model: str, by: str) -> list[Wanted]:
        """Looks at another checkpoint's reply; what is to be drawn: that one, and in the background its neighbours."""
        places = self.around.steps.get(model, ())
        if by not in places and by != model:
            raise Unfit(f"{by} is no saved step along {model}")
        self.looked_at[serial, model] = by
        at = places.index(by) if by in places else 0
        near = [by, *places[at + 1 : at + 2], *places[max(0, at - 1) : at]]
        return [
            replace(self._wanted(serial, model, place), background=place != by)
            for place in near
            if place != model and not self._has(serial, model, place)
        ]

    def beside(self, serial: int, model: str, steps: int) -> str:
        """The checkpoint `steps` further along a model's run than the one that is looked at.

        Raises: Unfit where the run has no saved steps, or ends there.
        """
        places = self.around.steps.get(model, ())
        if len(places) < 2:
            raise Unfit(f"{model} has no other saved steps to compare with; name it like tiny:ppo of a run")
        now = self.looked_at.get((serial, model), model)
        at = places.index(now) + steps if now in places else 0
        if not 0 <= at < len(places):
            raise Unfit(f"{now} is the {'first' if steps < 0 else 'last'} checkpoint along {model}")
        return places[at]

    def before(self, serial: int | None, model: str) -> int:
        """How many characters of text a model without a template went on from in a turn, or does in the next one."""
        return len(text_so_far(model, self.turns if serial is None else self.turns[: self.serials.index(serial)]))

    def candidates(self, serial: int) -> dict[str, Reply]:
        """The replies to a turn that are shown and said, by the model in whose place they stand."""
        shown = {model: self.shown(serial, model) for model in self.turn_of(serial).models}
        return {model: reply for model, reply in shown.items() if reply is not None and reply.said}

    def highest(self, serial: int) -> set[str]:
        """The models whose shown reply has the highest reward of a turn, where there is something to compare."""
        scores = {model: reply.score for model, reply in self.candidates(serial).items() if reply.score is not None}
        known = {model: score for model, score in scores.items() if score == score}
        top = max(known.values(), default=0.0)
        return {model for model, score in known.items() if score == top} if len(set(known.values())) > 1 else set()

    def _has(self, serial: int, model: str, by: str) -> bool:
        reply = self.along.get((serial, model, by))
        return reply is not None and not reply.error and not reply.stopped

    def _all_models(self) -> list[Wanted]:
        self.answering = set(self.session.models)
        return [self._wanted(self.serials[-1], model, model) for model in self.session.models]

    def _wanted(self, serial: int, model: str, by: str) -> Wanted:
        turns = self.turns[: self.serials.index(serial) + 1]
        around = self.around
        return Wanted(serial, model, by, turns, around.refs.get(model, ""), around.scorer, around.values.get(by, ""))

    def _refuse_if_busy(self) -> None:
        if self.busy:
            raise Unfit(REPLIES_COME)

    def _drop_last(self) -> None:
        self.session = replace(self.session, turns=self.turns[:-1])
        serial = self.serials.pop()
        self.looked_at = {key: by for key, by in self.looked_at.items() if key[0] != serial}
        self.along = {key: reply for key, reply in self.along.items() if key[0] != serial}

    def _next_serial(self) -> int:
        self._serial += 1
        return self._serial
