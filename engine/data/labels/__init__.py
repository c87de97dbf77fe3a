"""The label database: preferences collected in the terminal, and their export."""
