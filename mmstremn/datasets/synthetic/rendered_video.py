"""Synthetic videos with exact masks, rendered frame by frame when asked for."""

from functools import cached_property, lru_cache

import numpy as np

from mmstremn.datasets.synthetic.scene import SceneSpec
from mmstremn.structures.video import Video


class SyntheticVideo(Video):
    """A video of a synthetic scene: holds the scene's spec alone, so it is cheap to keep and to send to
    workers.

    Args:
        spec: The scene. Equal specs give equal frames.
        num_frames: T.
        name: The video's name.
    """

    def __init__(self, spec: SceneSpec, num_frames: int, name: str):
        self.spec = spec
        self.num_frames = num_frames
        self.name = name
        self.size = spec.size

    def frame(self, index: int) -> np.ndarray:
        """Frame ``index``, (H, W, 3) uint8 RGB."""
        return self._rendered(index)[0].copy()

    def mask(self, index: int) -> np.ndarray:
        """Exact ids of frame ``index``, (H, W) uint8: 0 is background, occluders and look-alikes included."""
        return self._rendered(index)[1].copy()

    def _rendered(self, index: int):
        self._check(index)
        return _render(self.spec, int(index))

    def _check(self, index: int):
        if not 0 <= index < self.num_frames:
            raise IndexError(f"Video '{self.name}' has frames 0 to {self.num_frames - 1}, not {index}.")

    @cached_property
    def prompts(self) -> dict[int, np.ndarray]:
        """The masks of the frames where objects appear for the first time, those objects alone.

        Every object is in frame 0 or in the frame from which the scene labels it, so no other frame is looked
        at.
        """
        layers = [layer for layer in self.spec.build().layers if layer.object_id]
        prompts = {}
        for time in sorted({0, *(layer.first_labelled for layer in layers)}):
            if time < self.num_frames:
                ids = [layer.object_id for layer in layers if layer.first_labelled == time]
                mask = self.mask(time)
                prompts[time] = np.where(np.isin(mask, ids), mask, 0).astype(np.uint8)
        return prompts


@lru_cache(maxsize=4)
def _render(spec: SceneSpec, index: int):
    return spec.build().render(index)
