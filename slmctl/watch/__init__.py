"""Following runs and drawing them as text, with no screen."""
