"""Hooks of mmengine's runner: checkpoints, schedules, statistics and pictures."""
