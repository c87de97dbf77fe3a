"""The pocket world: a synthetic dataset with its own prompts, responses, judge and labelers. No torch, no files."""
