"""Noise and hidden parts, to see what a memory is good for."""

from zlib import crc32

import numpy as np

from mmstremn.registry import TRANSFORMS

CELLS = 4  # the picture is hidden in cells of a quarter of its height and width
HELD = 2  # frames for which cells stay hidden
GREY = 128


@TRANSFORMS.register_module()
class DisturbFrame:
    """Adds noise whose strength changes from frame to frame, and hides cells of the picture behind grey;
    labels stay.

    So a sensor in the dark and a stream that loses blocks look. What is drawn depends on the clip's seed and
    the frame (in testing on the video's name and the frame) alone: every model is tested on the same
    pictures.

    Args:
        noise: The largest standard deviation, in 0..255; each frame draws its own between 0 and this.
        hidden: Probability that a cell is hidden.
    """

    def __init__(self, noise: float = 0.0, hidden: float = 0.0):
        if noise < 0 or not 0 <= hidden <= 1:
            raise ValueError(f'noise must be at least 0 and hidden in 0..1, got {noise} and {hidden}')
        self.noise, self.hidden = noise, hidden

    def __call__(self, results: dict) -> dict:
        """Disturb ``img``, (H, W, 3); what is no frame of a data set stays as it is."""
        if 'frame_index' not in results:
            return results
        seed, frame = results.get('clip_seed'), results['frame_index']
        seed = crc32(results['video_name'].encode()) if seed is None else seed
        image = results['img'].astype(np.float32)
        cells = np.random.default_rng((seed, 1, frame // HELD)).random((CELLS, CELLS)) < self.hidden
        rows, columns = (np.arange(side) * CELLS // side for side in image.shape[:2])
        image[cells[rows][:, columns]] = GREY
        rng = np.random.default_rng((seed, 2, frame))
        image += rng.uniform(0, self.noise) * rng.standard_normal(image.shape, np.float32)
        return results | dict(img=image.clip(0, 255).astype(np.uint8))

    def __repr__(self) -> str:
        return f'DisturbFrame(noise={self.noise}, hidden={self.hidden})'
