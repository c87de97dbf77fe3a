"""Files in foreign formats, rewritten as rows that readers.py reads: files.py is the door."""
