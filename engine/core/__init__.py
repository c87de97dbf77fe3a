"""Errors, configuration, events, metrics and seeds: what every other package builds on. No torch."""
