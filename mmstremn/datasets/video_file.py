"""The former place of :mod:`mmstremn.datasets.io.video_file`."""

from mmstremn.datasets.io.video_file import ImageFolder, VideoFile, open_video

__all__ = ['ImageFolder', 'VideoFile', 'open_video']
