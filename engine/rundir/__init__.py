"""The run directory: its files, its heartbeat, its configuration record, and references to models."""
