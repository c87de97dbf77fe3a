"""Collecting preferences: what is asked, how it is drawn, what was answered, simulated labelers, new rounds."""
