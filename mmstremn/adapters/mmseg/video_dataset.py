"""Frames of videos with a class for every pixel, as a data set of mmsegmentation."""

from functools import cached_property
from itertools import groupby

from mmseg.datasets import BaseSegDataset

from mmstremn.adapters.mmseg.samplers import FrameRequest, VideoFrames


class VideoSegDataset(BaseSegDataset):
    """Subclasses list the frames, video by video and in order; samplers choose which are loaded together.

    ``load_data_list`` returns for each frame what ``BaseSegDataset`` wants and ``video_name``,
    ``frame_index`` (from 0 in every video) and ``seg_map_path``, None where there are no labels. Samples
    carry ``video_name``, ``frame_index`` and, in a clip, ``clip_seed`` as metainfo, whatever the pipeline
    packs. Load with ``mmstremn.LoadVideoFrame``.
    """

    @cached_property
    def videos(self) -> list[VideoFrames]:
        """Where the videos are."""
        infos = (self.get_data_info(index) for index in range(len(self)))
        videos, start = [], 0
        for name, frames in groupby(infos, key=lambda info: info['video_name']):
            annotated = tuple(info.get('seg_map_path') is not None or 'video' in info for info in frames)
            videos.append(VideoFrames(name, start, annotated))
            start += len(annotated)
        return videos

    def __getitem__(self, request: FrameRequest | int) -> dict:
        """The packed frame.

        Raises:
            ValueError: The pipeline leaves nothing of it.
        """
        if not isinstance(request, FrameRequest):
            request = FrameRequest(int(request), None)
        if not self._fully_initialized:
            self.full_init()
        info = self.get_data_info(request.index)
        known = {key: info[key] for key in ('video_name', 'frame_index')}
        if request.clip_seed is not None:
            info['clip_seed'] = known['clip_seed'] = request.clip_seed
        packed = self.pipeline(info)
        if packed is None:
            raise ValueError(
                f"video '{known['video_name']}': the pipeline returned nothing for frame "
                f'{known["frame_index"]}'
            )
        samples = packed.get('data_samples', [])
        for sample in (
            samples if isinstance(samples, list) else [samples]
        ):  # several in test-time augmentation
            sample.set_metainfo(known)
        return packed

    def frame_info(self, video_name: str, frame_index: int, **info) -> dict:
        """What ``load_data_list`` says of a frame."""
        common = dict(label_map=self.label_map, reduce_zero_label=self.reduce_zero_label, seg_fields=[])
        return dict(video_name=video_name, frame_index=frame_index) | common | info
