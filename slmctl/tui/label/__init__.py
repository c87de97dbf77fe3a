"""The Label mode: its screen, dialogs and widgets."""
