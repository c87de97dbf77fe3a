"""The sampler child: a process of its own that loads models and draws from them, so that a screen never waits."""
