"""Where tests find the checkout and, where it is there, the shared folder of real models and data beside it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
SMALL_PRESET = Path(__file__).with_name("small.toml")
