"""FollowLoop runs and draw_panel them as text, with no screen."""
