"""The Chat mode: its screen, dialogs and widgets."""
