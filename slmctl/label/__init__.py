"""Collecting preferences: pair selection, sessions, simulated labelers, new rounds."""
