"""The pocket world: it makes its own prompts, answers, judge and labelers, and needs no torch and no files."""
