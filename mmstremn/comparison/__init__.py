"""Comparisons of memories: rows that are trained and tested, the leaderboard they make, and the model index.

Nothing is imported here: the tables need the extra ``analysis``, the rows do not.
"""
