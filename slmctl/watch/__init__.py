"""Follows runs and draws them as text, without a screen."""
