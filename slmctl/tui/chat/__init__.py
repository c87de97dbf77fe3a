"""What the Chat mode does between its screen and the conversation: drawing, keeping, judging, commands, the lens."""
