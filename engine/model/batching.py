"""Rows of ids as padded batches: which rows share a batch, and the tensors that a stage reads.

Rows of similar length share a batch, so there is little padding. The order follows from (seed, epoch) alone; nothing
about it is saved.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.data.records import Demonstration, Prompt, PromptRow, Ranking, Text
from engine.model.sampling import generator
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import Layout

POOL_BATCHES = 16  # batches whose rows are sorted together: more means less padding, fewer means more randomness
ENCODED_AT_ONCE = 1000  # rows, so that the ids of a large file are never all in memory


@dataclass(frozen=True)
class Example:
    """One row to train on: its ids, and the index of the first one with a loss (the prompt before it has none).

    `no_loss` are later spans (start, end) without a loss: the user's next turns.
    """

    ids: list[int]
    loss_start: int = 1
    no_loss: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Batch:
    """Right-padded `tokens` (B,T) int64, `lengths` (B,) int64, and `loss_mask` (B,T) bool, True on tokens with loss."""

    tokens: Tensor
    lengths: Tensor
    loss_mask: Tensor


def right_pad(rows: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids (B,T) int64 of rows that all begin in the first column, and their lengths (B,) int64.

    Attention is causal, so real tokens never see the padding after them, and no attention mask is needed.
    """
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.full((len(rows), int(lengths.max())), pad, dtype=torch.int64)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.tensor(row)
    return tokens.to(device), lengths.to(device)


def collate(examples: Sequence[Example], pad: int, device: torch.device) -> Batch:
    """The examples as one padded batch on `device`."""
    tokens, lengths = right_pad([example.ids for example in examples], pad, device)
    columns = torch.arange(tokens.size(1), device=device)
    # the first token of a row has nothing before it to be predicted from, so it never has a loss
    first = torch.tensor([max(1, example.loss_start) for example in examples], device=device)
    loss_mask = (columns >= first[:, None]) & (columns < lengths[:, None])  # (B,T)
    for row, example in enumerate(examples):
        for start, end in example.no_loss:
            loss_mask[row, start:end] = False
    return Batch(tokens, lengths, loss_mask)


@dataclass(frozen=True)
class PackedGroups:
    """Groups of rows, each group packed into one row: the prefix that its rows share once, then the rest of each.

    `tokens` (B,T) int64, right-padded; `ends` (N,) int64, the index in the flattened (B*T) of the last token of each of
    the N rows, group by group.
    """

    tokens: Tensor
    layout: Layout
    ends: Tensor


def pack_groups(groups: Sequence[Sequence[Sequence[int]]], pad: int, device: torch.device) -> PackedGroups:
    """The groups with shared-prefix packing: the hidden state at the end of each row is as if it were alone.

    A prompt that has K responses is computed once instead of K times.
    """
    tokens: list[list[int]] = []
    positions: list[list[int]] = []
    owners: list[list[int]] = []  # 0 for the shared prefix, then 1, 2, ... for the rest of each row
    lasts: list[list[int]] = []
    for rows in groups:
        shared = shared_prefix_length(rows)
        tokens.append(list(rows[0][:shared]))
        positions.append(list(range(shared)))
        owners.append([0] * shared)
        lasts.append([])
        for owner, row in enumerate(rows, start=1):
            tokens[-1] += row[shared:]
            positions[-1] += range(shared, len(row))  # each response continues the prompt, wherever it is packed
            owners[-1] += [owner] * (len(row) - shared)
            lasts[-1].append(len(tokens[-1]) - 1)
    padded, _ = right_pad(tokens, pad, device)
    width = padded.size(1)
    ends = torch.tensor([group * width + last for group, own in enumerate(lasts) for last in own], device=device)
    allowed = packed_attention(right_pad(owners, -1, device)[0])
    return PackedGroups(padded, Layout(right_pad(positions, 0, device)[0], allowed), ends)


def shared_prefix_length(rows: Sequence[Sequence[int]]) -> int:
    """How many ids all rows begin with, at most one fewer than the shortest row: each keeps a last token of its own."""
    shortest = min(len(row) for row in rows) - 1
    differing = (at for at in range(shortest) if any(row[at] != rows[0][at] for row in rows))
    return next(differing, shortest)


def packed_attention(owners: Tensor) -> Tensor:
    """`allowed` (B,1,T,T) of a Layout: each token sees the shared prefix and its own row before it.

    `owners` (B,T) int64 is 0 in the shared prefix and names the row elsewhere.
    """
    width = owners.size(1)
    # without this mask, the second response would read the first one, and its score would depend on it
    causal = torch.ones(width, width, dtype=torch.bool, device=owners.device).tril()
    related = (owners[:, None, :] == 0) | (owners[:, :, None] == owners[:, None, :])  # (B, query, key)
    return (causal & related)[:, None]


def demonstration_examples(
    rows: Sequence[Demonstration], tokenizer: Tokenizer, context: int
) -> tuple[list[Example], int]:
    """Examples with a loss on each response through EOS, and the number of rows in which something was too long."""
    # The loss is on responses alone: the model is to answer prompts, not to write them. EOS is one of the targets, or
    # the policy would never learn where a response ends.
    turns = [imitated_turns(row) for row in rows]
    flat = [turn for own in turns for turn in own]
    prompts = iter(tokenizer.encode_prompts([prompt for prompt, _ in flat]))
    responses = iter(tokenizer.encode_responses([response for _, response in flat]))
    examples, too_long = [], 0
    for own in turns:
        encoded = [(next(prompts), next(responses)) for _ in own]
        fitting = [(prompt, response) for prompt, response in encoded if len(prompt) + len(response) <= context]
        too_long += len(fitting) < len(encoded)
        examples += join_turns(fitting)
    return examples, too_long


def imitated_turns(row: Demonstration) -> list[tuple[Prompt, str]]:
    """The responses of a demonstration to imitate, each with everything before it as the prompt."""
    turns: list[tuple[Prompt, str]] = []
    if row.all_turns and not isinstance(row.prompt, str):
        answers = [i for i, turn in enumerate(row.prompt) if i and turn.role == "assistant" and turn.content.strip()]
        turns = [(row.prompt[:i], row.prompt[i].content) for i in answers]
    return [*turns, (row.prompt, row.response)]


def join_turns(turns: Sequence[tuple[list[int], list[int]]]) -> list[Example]:
    """The turns of one conversation, (prompt, response) in ids, in as few rows as possible.

    A turn continues the previous row if its prompt begins with exactly that row's ids. Some templates render earlier
    answers differently from how they are generated; then each turn gets a row of its own, so that the model is trained
    on what it will read.
    """
    examples: list[Example] = []
    for prompt, response in turns:
        ids, last = prompt + response, examples[-1] if examples else None
        if last is not None and prompt[: len(last.ids)] == last.ids:
            examples[-1] = Example(ids, last.loss_start, (*last.no_loss, (len(last.ids), len(prompt))))
        else:
            examples.append(Example(ids, len(prompt)))
    return examples


def count_too_long(
    records: Sequence[Demonstration | Ranking | PromptRow | Text], tokenizer: Tokenizer, context: int
) -> int:
    """How many records do not fit into `context` tokens, by the rules of the stages that train on them.

    A demonstration must fit with each response and EOS, a comparison with its longest response and EOS; a prompt must
    leave room for a response. Text is cut into rows and always fits.
    """
    count = 0
    for start in range(0, len(records), ENCODED_AT_ONCE):
        part = records[start : start + ENCODED_AT_ONCE]
        count += demonstration_examples([row for row in part if isinstance(row, Demonstration)], tokenizer, context)[1]
        rankings = [row for row in part if isinstance(row, Ranking)]
        count += sum(length > context for length in longest_row_lengths(rankings, tokenizer))
        prompts = [row.prompt for row in part if isinstance(row, PromptRow)]
        count += sum(len(ids) >= context for ids in tokenizer.encode_prompts(prompts))
    return count


def longest_row_lengths(rankings: Sequence[Ranking], tokenizer: Tokenizer) -> list[int]:
    """The length in tokens of each ranking's longest row: prompt, response and EOS."""
    prompts = tokenizer.encode_prompts([ranking.prompt for ranking in rankings])
    return [
        len(prompt) + max(map(len, tokenizer.encode_responses(ranking.responses)))
        for ranking, prompt in zip(rankings, prompts, strict=True)
    ]


class EpochBatches:
    """Row indices by step, over any number of epochs; exactly one of `rows` and `tokens` limits a batch.

    `tokens` limits a batch's ids, padding included. A last batch that is not full is kept, so each epoch sees each row.
    """

    def __init__(self, lengths: Sequence[int], seed: int, stream: str, rows: int = 0, tokens: int = 0):
        assert bool(rows) != bool(tokens), f"rows {rows}, tokens {tokens}"
        self._lengths, self._seed, self._stream, self._rows, self._tokens = lengths, seed, stream, rows, tokens
        self._epoch, self._before = 0, 0
        self._batches = self._lay_out()

    def __getitem__(self, step: int) -> list[int]:
        """Row indices of batch `step`, counted from 0; steps must not decrease from call to call."""
        while step >= self._before + len(self._batches):
            self._before += len(self._batches)
            self._epoch += 1
            self._batches = self._lay_out()
        return self._batches[step - self._before]

    def __len__(self) -> int:
        """Batches in the current epoch."""
        return len(self._batches)

    def _lay_out(self) -> list[list[int]]:
        """The batches of one epoch: rows shuffled, sorted by length within pools, cut, and the batches shuffled."""
        rng = generator(self._seed, self._stream, self._epoch)
        order = torch.randperm(len(self._lengths), generator=rng).tolist()
        mean = sum(self._lengths) / len(self._lengths)
        pool = POOL_BATCHES * (self._rows or max(1, int(self._tokens / mean)))
        batches: list[list[int]] = []
        for start in range(0, len(order), pool):
            batches += self._cut(sorted(order[start : start + pool], key=lambda row: self._lengths[row]))
        # sorting put short batches before long ones; training should meet them in random order
        return [batches[i] for i in torch.randperm(len(batches), generator=rng).tolist()]

    def _cut(self, rows: list[int]) -> list[list[int]]:
        """Rows in order of length as batches."""
        batches: list[list[int]] = [[]]
        for row in rows:
            full = len(batches[-1]) == self._rows
            if self._tokens:  # the newest row is the longest, and the others are padded to it
                full = (len(batches[-1]) + 1) * self._lengths[row] > self._tokens
            if full and batches[-1]:
                batches.append([])
            batches[-1].append(row)
        return batches
