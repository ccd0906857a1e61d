"""Memories of published models, one file a paper."""
