"""The Runs mode: its screen, the form that starts a stage, and their widgets."""
