"""The program: command line, screens and worker processes around the engine."""
