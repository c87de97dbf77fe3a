"""Paths of the checkout and, if present, of the shared folder with real models and data beside it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
SMALL_PRESET = Path(__file__).with_name("small.toml")
