"""Text output of the command line: safe text, progress, results, reports, signals."""
