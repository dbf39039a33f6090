"""Tells people of alerts: channels, and the queue before them."""
