"""Chat templates, rendered in a sandbox because they come with downloaded models."""
