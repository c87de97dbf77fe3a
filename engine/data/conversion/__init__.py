"""Conversion of other formats into the rows that `engine.data.readers` reads."""
