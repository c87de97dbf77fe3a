"""The Train mode: its screen, dialogs and widgets."""
