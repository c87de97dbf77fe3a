"""Talking to models: conversations, what goes with a model, sessions that are kept, votes."""
