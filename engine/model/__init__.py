"""The decoder, its heads, tokenizer, chat templates, sampling and checkpoints."""
