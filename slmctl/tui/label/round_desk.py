"""Plans a new round from a labelling session, runs its commands and says how they stand; one round at a time."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from textual.message import Message

from engine.core.errors import EngineError
from engine.data.labels.agreement import longer_won
from engine.data.labels.store import read_labels
from slmctl.label.counts import COMPARED, agrees, percent
from slmctl.label.rounds import Progress, drive, plan_round, stop
from slmctl.tui.label.round_state import RoundState
from slmctl.tui.label.session import LabelSession
from slmctl.tui.messages import LabelFailed, RoundEnded, RoundNews, RoundPlanned


class RoundDesk:
    """`post` hands a message to the screen."""

    def __init__(self, home: Path, post: Callable[[Message], object]) -> None:
        self._home, self._post = home, post
        self.state: RoundState | None = None  # the round that was started last
        self.draft: RoundState | None = None  # one that may be started

    async def plan(self, session: LabelSession, again: bool = False) -> None:
        """Drafts a round from this session where there is none, or `again`; RoundPlanned says when."""
        if again or self.state is None:
            try:
                self.draft = await asyncio.to_thread(self._planned, session)
            except EngineError as error:
                self._post(LabelFailed(str(error)))
                return
        self._post(RoundPlanned())

    async def run(self) -> None:
        """Does the round that was drafted, or the one that failed once more."""
        self.state, self.draft = self.draft or self.state, None
        assert self.state is not None, "plan first"
        self.state.running, self.state.error, self.state.stages = True, "", {}
        try:
            async for progress in drive(self.state.planned, self._home, os.environ):
                self._post(RoundNews(progress))
        except EngineError as error:
            self._post(RoundEnded(str(error)))
        else:
            self._post(RoundEnded())

    async def stop(self) -> None:
        """Asks the commands that run to save and end."""
        if self.state is not None:
            try:
                await asyncio.to_thread(stop, self.state.planned, self._home)
            except EngineError as error:
                self._post(LabelFailed(str(error)))

    def take(self, progress: Progress) -> None:
        """Remembers how it stands."""
        if self.state is not None:
            self.state.stages[progress.stage] = progress

    def end(self, error: str) -> None:
        """Remembers how it ended."""
        if self.state is not None:
            self.state.running, self.state.done, self.state.error = False, not error, error

    def _planned(self, session: LabelSession) -> RoundState:
        recipe, labels = session.sitting.recipe, session.sitting.labels
        judged = [one for one in read_labels(labels) if one.verdict in COMPARED]
        policy, because = _start(session)
        source, longest = session.sitting.source, int(recipe.sampling["max_new_tokens"])
        planned = plan_round(policy, recipe.scorer, labels, len(judged), self._home, source, longest)
        opinions = [agrees(one) for one in judged]
        known = [opinion for opinion in opinions if opinion is not None]
        before = f" ({recipe.scorer} before: on {sum(known) / len(known):.0%} of all)" if known else ""
        return RoundState(planned, because, before, longer_won(judged))


def _start(session: LabelSession) -> tuple[str, str]:
    """The policy that a round starts from, and why: of two the one that was preferred."""
    models, wins = session.sitting.recipe.models, session.tally().wins
    if len(models) == 1:
        return models[0], ""
    if wins.rate is None or wins.rate < 0.5:
        share = "" if wins.rate is None else f", which won {1 - wins.rate:.0%} of your votes"
        return models[0], share
    return models[1], f", which won {percent(wins)} of your votes"
