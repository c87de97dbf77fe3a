"""Which rows of data are too long for a model, by the rules of the stages that learn from them."""

from collections.abc import Sequence

from engine.data.records import Demonstration, PromptRow, Ranking, Text
from engine.model.batching import demonstration_examples
from engine.model.tokenizer import Tokenizer

ROWS_AT_ONCE = 1000  # so that the ids of a large file are never all in memory


def over_long(records: Sequence[Demonstration | Ranking | PromptRow | Text], tokenizer: Tokenizer, context: int) -> int:
    """How many records do not fit into `context` tokens.

    A demonstration does not with a response and EOS, which is left out, nor a comparison with one of its responses. A
    prompt does not where it leaves no room for a response. Text is cut into rows: it fits.
    """
    parts = (records[at : at + ROWS_AT_ONCE] for at in range(0, len(records), ROWS_AT_ONCE))
    return sum(_over_long(part, tokenizer, context) for part in parts)


def _over_long(
    records: Sequence[Demonstration | Ranking | PromptRow | Text], tokenizer: Tokenizer, context: int
) -> int:
    demonstrations = [record for record in records if isinstance(record, Demonstration)]
    rankings = [record for record in records if isinstance(record, Ranking)]
    rows = [record for record in records if isinstance(record, PromptRow)]
    count = demonstration_examples(demonstrations, tokenizer, context)[1]
    count += sum(length > context for length in longest_rows(rankings, tokenizer))
    return count + sum(len(ids) >= context for ids in tokenizer.encode_prompts([row.prompt for row in rows]))


def longest_rows(rankings: Sequence[Ranking], tokenizer: Tokenizer) -> list[int]:
    """Tokens of each ranking's longest row: prompt, response and EOS."""
    prompts = tokenizer.encode_prompts([ranking.prompt for ranking in rankings])
    return [
        len(prompt) + max(map(len, tokenizer.encode_responses(ranking.responses)))
        for ranking, prompt in zip(rankings, prompts, strict=True)
    ]
