"""Conversations with models: turns, saved sessions, votes."""
