"""The screens, and the door that all foreign text passes before a terminal sees it."""
