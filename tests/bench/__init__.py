"""Benchmarks: comparison and checkpoint exchange with TRL, killed labelers, key latency, rounds, opening of long runs.

Not part of the checks: TRL needs its own environment, kills and timings need a quiet machine.
"""
