"""Every message that a widget or worker posts: what happened, as data. Handlers alone change state."""
