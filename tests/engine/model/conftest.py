"""Keeps transformers off the network; it reads this setting when it is imported, so it is set here."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
