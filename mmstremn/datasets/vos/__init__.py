"""Data sets of video object segmentation: clips for training, whole videos for testing."""
