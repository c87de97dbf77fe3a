"""What the Train mode does between its screen and the runs: looking at them, arranging panels."""
