"""Rows of ids into padded batches: which rows go together, and the tensors that a stage reads.

Rows of like length share a batch, so little is padded. The order follows from (seed, epoch) alone; nothing is saved.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.data.records import Demonstration, Prompt
from engine.model.randomness import generator
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import Layout

POOL_BATCHES = 16  # batches whose rows are sorted together: less padding when larger, more random when smaller


@dataclass(frozen=True)
class Example:
    """One row to learn: its ids, and the first of them that is a target (the prompt before it is only read).

    `only_read` are later stretches, from one place up to another, that are no targets either: a person's next turns.
    """

    ids: list[int]
    learn_from: int = 1
    only_read: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Batch:
    """Right-padded `tokens` (B,T) int64, `lengths` (B,) int64, and `learn` (B,T) bool, True on tokens to learn."""

    tokens: Tensor
    lengths: Tensor
    learn: Tensor


def right_pad(rows: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids (B,T) int64 of rows that all begin in the first column, and their lengths (B,) int64."""
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.full((len(rows), int(lengths.max())), pad, dtype=torch.int64)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.tensor(row)
    return tokens.to(device), lengths.to(device)


def collate(examples: Sequence[Example], pad: int, device: torch.device) -> Batch:
    """The examples as one padded batch on `device`."""
    tokens, lengths = right_pad([example.ids for example in examples], pad, device)
    columns = torch.arange(tokens.size(1), device=device)
    first = torch.tensor([max(1, example.learn_from) for example in examples], device=device)
    learn = (columns >= first[:, None]) & (columns < lengths[:, None])
    for row, example in enumerate(examples):
        for start, end in example.only_read:
            learn[row, start:end] = False
    return Batch(tokens, lengths, learn)


@dataclass(frozen=True)
class Forks:
    """Groups of rows laid out as one row each: what a group's rows begin with once, then each row's own end.

    `tokens` (B,T) int64, padded on the right; `ends` (N,) int64, where each of the N rows ends in the flattened (B*T),
    group by group.
    """

    tokens: Tensor
    layout: Layout
    ends: Tensor


def fork(groups: Sequence[Sequence[Sequence[int]]], pad: int, device: torch.device) -> Forks:
    """The groups as forks: a model gives at each row's end what it gives for that row alone, at a fraction of the cost
    where a prompt has several responses."""
    tokens: list[list[int]] = []
    positions: list[list[int]] = []
    branches: list[list[int]] = []  # 0 is the trunk that all rows of a group share
    lasts: list[list[int]] = []
    for rows in groups:
        trunk = shared_beginning(rows)
        tokens.append(list(rows[0][:trunk]))
        positions.append(list(range(trunk)))
        branches.append([0] * trunk)
        lasts.append([])
        for branch, row in enumerate(rows, start=1):
            tokens[-1] += row[trunk:]
            positions[-1] += range(trunk, len(row))
            branches[-1] += [branch] * (len(row) - trunk)
            lasts[-1].append(len(tokens[-1]) - 1)
    laid, _ = right_pad(tokens, pad, device)
    width = laid.size(1)
    ends = torch.tensor([group * width + last for group, own in enumerate(lasts) for last in own], device=device)
    allowed = branches_allowed(right_pad(branches, -1, device)[0])
    return Forks(laid, Layout(right_pad(positions, 0, device)[0], allowed), ends)


def shared_beginning(rows: Sequence[Sequence[int]]) -> int:
    """How many ids all rows begin with, one fewer where that is a whole row: each keeps an end of its own."""
    shortest = min(len(row) for row in rows) - 1
    alike = (at for at in range(shortest) if any(row[at] != rows[0][at] for row in rows))
    return next(alike, shortest)


def branches_allowed(branches: Tensor) -> Tensor:
    """`allowed` (B,1,T,T) of Layout: a token looks back at the trunk and at its own branch, named by (B,T) int64."""
    width = branches.size(1)
    causal = torch.ones(width, width, dtype=torch.bool, device=branches.device).tril()
    kin = (branches[:, None, :] == 0) | (branches[:, :, None] == branches[:, None, :])
    return (causal & kin)[:, None]


def demonstration_examples(
    rows: Sequence[Demonstration], tokenizer: Tokenizer, context: int
) -> tuple[list[Example], int]:
    """Examples with loss on each response to imitate, through EOS, and of how many rows something did not fit."""
    turns = [turns_to_imitate(row) for row in rows]
    flat = [turn for own in turns for turn in own]
    prompts = iter(tokenizer.encode_prompts([prompt for prompt, _ in flat]))
    responses = iter(tokenizer.encode_responses([response for _, response in flat]))
    examples, overlong = [], 0
    for own in turns:
        encoded = [(next(prompts), next(responses)) for _ in own]
        fitting = [(prompt, response) for prompt, response in encoded if len(prompt) + len(response) <= context]
        overlong += len(fitting) < len(encoded)
        examples += joined(fitting)
    return examples, overlong


def turns_to_imitate(row: Demonstration) -> list[tuple[Prompt, str]]:
    """What a demonstration teaches: responses with all that came before each of them."""
    turns: list[tuple[Prompt, str]] = []
    if row.all_turns and not isinstance(row.prompt, str):
        answers = [i for i, turn in enumerate(row.prompt) if i and turn.role == "assistant" and turn.content.strip()]
        turns = [(row.prompt[:i], row.prompt[i].content) for i in answers]
    return [*turns, (row.prompt, row.response)]


def joined(turns: Sequence[tuple[list[int], list[int]]]) -> list[Example]:
    """The turns of one conversation, (prompt, response) in ids, in as few rows as can be.

    A turn joins the row before it where its prompt begins with that row, id by id; a template that writes past answers
    in another way than they are generated gets a row a turn, so that what is learnt is what will be read.
    """
    examples: list[Example] = []
    for prompt, response in turns:
        ids, last = prompt + response, examples[-1] if examples else None
        if last is not None and prompt[: len(last.ids)] == last.ids:
            examples[-1] = Example(ids, last.learn_from, (*last.only_read, (len(last.ids), len(prompt))))
        else:
            examples.append(Example(ids, len(prompt)))
    return examples


class EpochBatches:
    """Row indices by step, over as many epochs as are asked for; exactly one of `rows` and `tokens` sizes a batch.

    `tokens` bounds a batch's ids, padding counted. A last batch short of rows is kept, so each epoch sees every row.
    """

    def __init__(self, lengths: Sequence[int], seed: int, stream: str, rows: int = 0, tokens: int = 0):
        assert bool(rows) != bool(tokens), f"rows {rows}, tokens {tokens}"
        self._lengths, self._seed, self._stream, self._rows, self._tokens = lengths, seed, stream, rows, tokens
        self._epoch, self._before = 0, 0
        self._batches = self._lay_out()

    def __getitem__(self, step: int) -> list[int]:
        """Row indices of batch `step`, counted from 0; steps are asked for in rising order."""
        while step >= self._before + len(self._batches):
            self._before += len(self._batches)
            self._epoch += 1
            self._batches = self._lay_out()
        return self._batches[step - self._before]

    def __len__(self) -> int:
        """Batches in the epoch that is laid out."""
        return len(self._batches)

    def _lay_out(self) -> list[list[int]]:
        """One epoch: rows shuffled, sorted by length inside pools, cut into batches, batches shuffled."""
        rng = generator(self._seed, self._stream, self._epoch)
        order = torch.randperm(len(self._lengths), generator=rng).tolist()
        mean = sum(self._lengths) / len(self._lengths)
        pool = POOL_BATCHES * (self._rows or max(1, int(self._tokens / mean)))
        batches: list[list[int]] = []
        for start in range(0, len(order), pool):
            batches += self._cut(sorted(order[start : start + pool], key=lambda row: self._lengths[row]))
        return [batches[i] for i in torch.randperm(len(batches), generator=rng).tolist()]

    def _cut(self, rows: list[int]) -> list[list[int]]:
        """Rows of rising length cut into batches."""
        batches: list[list[int]] = [[]]
        for row in rows:
            full = len(batches[-1]) == self._rows
            if self._tokens:
                full = (len(batches[-1]) + 1) * self._lengths[row] > self._tokens
            if full and batches[-1]:
                batches.append([])
            batches[-1].append(row)
        return batches
