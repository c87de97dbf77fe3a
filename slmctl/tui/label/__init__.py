"""What the Label mode does between its screen and the session: asking, keeping, rounds."""
