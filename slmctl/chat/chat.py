"""The state of an open chat: the session, which models are still replying, and replies of other checkpoints.

Knows no screen and no sampler: its methods change the state and return the replies to sample. Each attempt at a turn
has its own serial number, so that a late reply to an undone turn is recognized.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from slmctl.chat.conversation import ChatError, Reply, SavedVote, Turn, next_step, text_so_far
from slmctl.chat.related_models import RelatedModels, find_related_models
from slmctl.chat.sessions import Session

WAIT_FOR_REPLIES = "wait for the replies to finish, or press Esc to stop them"
ReplyKey = tuple[int, str, str]  # turn, model, checkpoint


@dataclass(frozen=True)
class ReplyRequest:
    """One reply to sample: checkpoint `by` answers the last of `turns` with the history of `model`."""

    serial: int
    model: str
    by: str
    turns: tuple[Turn, ...]
    ref: str = ""
    scorer: str = ""
    value: str = ""
    background: bool = False

    @property
    def key(self) -> ReplyKey:
        """Identifies the reply among all replies of the chat."""
        return self.serial, self.model, self.by


class Chat:
    """The state of one chat; `home` is the runs folder."""

    def __init__(self, home: Path, session: Session) -> None:
        self.home = home
        self.related = RelatedModels()
        self._last_serial = 0
        self.open(session)

    def find_related(self) -> None:
        """Finds the models related to those of the session. Reads files, so not for the event loop of a screen."""
        session = self.session
        self.related = find_related_models(session.models, self.home, session.ref, session.scorer)

    def open(self, session: Session) -> None:
        """Replaces the session."""
        self.session = session
        self.serials = [self._next_serial() for _ in session.turns]
        self.replying: set[str] = set()
        self.selected: dict[tuple[int, str], str] = {}  # the checkpoint shown for a model in a turn, if not the model
        self.checkpoint_replies: dict[ReplyKey, Reply] = {}
        self.ended_at: dict[int, float] = {}  # by serial, when the last reply ended
        replies = (reply for turn in session.turns for reply in turn.replies.values() if not reply.error)
        self.has_template = {reply.by: reply.chat for reply in replies}  # for the models where it is known

    @property
    def turns(self) -> tuple[Turn, ...]:
        """All turns."""
        return self.session.turns

    @property
    def busy(self) -> bool:
        """Whether any model is still replying."""
        return bool(self.replying)

    def completes_text(self) -> bool:
        """Whether no model has a chat template, so that prompts are continued verbatim."""
        return bool(self.session.models) and not any(self.has_template.get(one, True) for one in self.session.models)

    def send(self, text: str) -> list[ReplyRequest]:
        """Adds a turn and returns the replies to sample. Drops the last turn first if all its replies failed.

        Raises: ChatError while a model is replying, without a model, or for an empty prompt.
        """
        self._require_idle()
        if not self.session.models:
            raise ChatError("no model is selected; type /model and a name, such as /model tiny:ppo")
        if self.turns and self.turns[-1].failed:
            self._drop_last()
        if not text.strip() and not (self.completes_text() and (text or self.turns)):
            raise ChatError("type the beginning of a text" if self.completes_text() else "type a prompt first")
        self.session = replace(self.session, turns=(*self.turns, self._new_turn(text, next_step(self.turns))))
        self.serials.append(self._next_serial())
        return self._all_models()

    def set_sampling(self, values: Mapping[str, float]) -> None:
        """Changes sampling settings and seed, from the next reply on."""
        sampling = {name: value for name, value in values.items() if name != "seed"}
        session = self.session
        seed = int(values.get("seed", session.seed))
        self.session = replace(session, sampling={**session.sampling, **sampling}, seed=seed)

    def single_turn_models(self) -> list[str]:
        """The models that were trained on single turns only, once the conversation has more than one."""
        return [model for model in self.related.single_turn if len(self.turns) > 1 and model in self.session.models]

    def regenerate(self) -> list[ReplyRequest]:
        """Replaces the last turn by one with the next random step and the current settings.

        Raises: ChatError without a turn, or while a model is replying.
        """
        self._require_idle()
        if not self.turns:
            raise ChatError("there is no turn to regenerate yet")
        last = self.turns[-1]
        self.session = self.session.with_turn(self._new_turn(last.prompt, last.step + 1 if last.replies else last.step))
        self.serials[-1] = self._next_serial()
        return self._all_models()

    def undo(self) -> str:
        """Removes the last turn and returns its prompt. Raises: ChatError without a turn, or while a model replies."""
        self._require_idle()
        if not self.turns:
            raise ChatError("there is nothing to undo")
        prompt = self.turns[-1].prompt
        self._drop_last()
        return prompt

    def add_reply(self, request: ReplyRequest, reply: Reply) -> bool:
        """Adds a reply; returns False if it is no longer wanted."""
        if request.serial not in self.serials:
            return False
        if not reply.error:
            self.has_template[request.by] = reply.chat
        if request.by != request.model:
            self.checkpoint_replies[request.key] = reply
            return True
        if request.serial != self.serials[-1] or request.model not in self.replying:
            return False
        self.replying.discard(request.model)
        self.session = self.session.with_turn(self.turns[-1].with_reply(request.model, reply))
        if not self.busy:
            self.ended_at[request.serial] = time.monotonic()
        return True

    def follow(self, model: str) -> None:
        """Makes all models continue from one model's replies, in every turn that has them; "" ends that."""
        turns = (replace(turn, follow=model if model in turn.models else "") for turn in self.turns)
        self.session = replace(self.session, turns=tuple(turns))

    def set_votes(self, serial: int, vote: SavedVote | None, edit: SavedVote | None) -> None:
        """Records the vote on and the edit of a turn, if it still exists."""
        if serial in self.serials:
            turns = list(self.turns)
            turns[self.serials.index(serial)] = replace(self.turn(serial), vote=vote, edit=edit)
            self.session = replace(self.session, turns=tuple(turns))

    def turn(self, serial: int) -> Turn:
        """The turn with a serial number."""
        return self.turns[self.serials.index(serial)]

    def default_target(self) -> tuple[int, str]:
        """The last turn, and the first of its models that is not the reference and has other checkpoints.

        Raises: ChatError without a turn.
        """
        if not self.turns:
            raise ChatError("there is no reply yet")
        models, related = self.turns[-1].models, self.related
        trained = sorted(models, key=lambda model: related.refs.get(model) == model)
        with_checkpoints = (model for model in trained if len(related.checkpoints.get(model, ())) > 1)
        return self.serials[-1], next(with_checkpoints, models[0])

    def turns_through(self, serial: int) -> tuple[Turn, ...]:
        """All turns up to one whose replies are complete. Raises: ChatError while a model replies to it."""
        if self.busy and serial == self.serials[-1]:
            raise ChatError(WAIT_FOR_REPLIES)
        return self.turns[: self.serials.index(serial) + 1]

    def shown_reply(self, serial: int, model: str) -> Reply | None:
        """The reply shown for a model: its own, or that of the selected checkpoint."""
        by = self.selected.get((serial, model), model)
        return self.turn(serial).replies.get(model) if by == model else self.checkpoint_replies.get((serial, model, by))

    def shown_replies(self, serial: int) -> dict[str, Reply]:
        """The usable replies shown for a turn, by model."""
        shown = {model: self.shown_reply(serial, model) for model in self.turn(serial).models}
        return {model: reply for model, reply in shown.items() if reply is not None and reply.usable}

    def highest_reward(self, serial: int) -> set[str]:
        """The models whose shown reply has the highest reward of a turn; none if all are equal."""
        scores = {model: reply.score for model, reply in self.shown_replies(serial).items() if reply.score is not None}
        known = {model: score for model, score in scores.items() if score == score}
        top = max(known.values(), default=0.0)
        return {model for model, score in known.items() if score == top} if len(set(known.values())) > 1 else set()

    def select_checkpoint(self, serial: int, model: str, by: str) -> list[ReplyRequest]:
        """Shows another checkpoint's reply. Returns the replies to sample: that one and, in the background, the two
        next to it."""
        checkpoints = self.related.checkpoints.get(model, ())
        if by not in checkpoints and by != model:
            raise ChatError(f"{by} is not a checkpoint of the run of {model}")
        self.selected[serial, model] = by
        at = checkpoints.index(by) if by in checkpoints else 0
        near = [by, *checkpoints[at + 1 : at + 2], *checkpoints[max(0, at - 1) : at]]
        return [
            replace(self._request(serial, model, checkpoint), background=checkpoint != by)
            for checkpoint in near
            if checkpoint != model and not self._has(serial, model, checkpoint)
        ]

    def neighboring_checkpoint(self, serial: int, model: str, steps: int) -> str:
        """The checkpoint `steps` after the one shown for a model. Raises: ChatError if there is none."""
        checkpoints = self.related.checkpoints.get(model, ())
        if len(checkpoints) < 2:
            raise ChatError(f"{model} has no other checkpoints; chat with the policy of a run, such as tiny:ppo")
        now = self.selected.get((serial, model), model)
        at = checkpoints.index(now) + steps if now in checkpoints else 0
        if not 0 <= at < len(checkpoints):
            raise ChatError(f"{now} is the {'first' if steps < 0 else 'last'} checkpoint of {model}")
        return checkpoints[at]

    def context_length(self, serial: int | None, model: str) -> int:
        """How many characters a model without a chat template continues in a turn, or in the next one."""
        return len(text_so_far(model, self.turns if serial is None else self.turns[: self.serials.index(serial)]))

    def _has(self, serial: int, model: str, by: str) -> bool:
        reply = self.checkpoint_replies.get((serial, model, by))
        return reply is not None and not reply.error and not reply.stopped

    def _new_turn(self, prompt: str, step: int) -> Turn:
        session = self.session
        return Turn(prompt, session.models, step, session.seed, session.system, dict(session.sampling))

    def _all_models(self) -> list[ReplyRequest]:
        self.replying = set(self.session.models)
        return [self._request(self.serials[-1], model, model) for model in self.session.models]

    def _request(self, serial: int, model: str, by: str) -> ReplyRequest:
        turns, related = self.turns[: self.serials.index(serial) + 1], self.related
        ref, value = related.refs.get(model, ""), related.value_networks.get(by, "")
        return ReplyRequest(serial, model, by, turns, ref, related.scorer, value)

    def _require_idle(self) -> None:
        if self.busy:
            raise ChatError(WAIT_FOR_REPLIES)

    def _drop_last(self) -> None:
        self.session = replace(self.session, turns=self.turns[:-1])
        serial = self.serials.pop()
        self.selected = {key: by for key, by in self.selected.items() if key[0] != serial}
        self.checkpoint_replies = {key: reply for key, reply in self.checkpoint_replies.items() if key[0] != serial}

    def _next_serial(self) -> int:
        self._last_serial += 1
        return self._last_serial
