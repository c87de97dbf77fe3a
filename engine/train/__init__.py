"""The training stages as generators of events, and the evaluation."""
