"""The engine: reinforcement learning from human feedback as a library, usable without any screen."""
