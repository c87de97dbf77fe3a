"""Chat templates, which come from strangers: sandbox.py is the door."""
