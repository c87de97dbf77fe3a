"""Pictures of numbers as text: braille or ASCII cells with the role of each, so that a screen can color them."""
