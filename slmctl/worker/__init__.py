"""The sampler child: a process that loads models and generates with them, so that screens never wait."""
