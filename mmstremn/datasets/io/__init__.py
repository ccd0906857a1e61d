"""Pictures, masks, videos and folders from files."""
