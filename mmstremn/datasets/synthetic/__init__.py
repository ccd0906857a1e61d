"""Embedded videos with exact masks, rendered when they are asked for."""
