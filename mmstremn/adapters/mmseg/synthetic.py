"""Embedded videos with a class for every pixel: what a pixel belongs to shows in colour and pattern."""

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from mmengine.fileio import BaseStorageBackend, register_backend

from mmstremn.adapters.mmseg.video_dataset import VideoSegDataset
from mmstremn.datasets.synthetic.layers import ROW, Layer, Waves, sample_object
from mmstremn.datasets.synthetic.photos import PHOTOGRAPHS, colour_matrix, sample_texture
from mmstremn.datasets.synthetic.scene import MARGIN, Scene, shaded, texture_size
from mmstremn.datasets.synthetic.short_videos import SPLITS, scene_seed
from mmstremn.registry import DATASETS

CLASSES = ('background', 'orange plain', 'orange striped', 'blue plain', 'blue striped')
COLOURS = ((235, 140, 50), (60, 120, 225))
SCHEME = 'mmstremn-synthetic'  # of the addresses of frames
VERSION = 101  # of the recipe; no other embedded data set has it, so none shares a seed


class SegVideo(NamedTuple):
    """A video of a synthetic scene: small to keep, rendered when asked for.

    Attributes:
        split: Whose photographs are backdrops.
        seed: Of the scene.
        size: (H, W).
    """

    split: str
    seed: int
    size: tuple[int, int]

    def frame(self, index: int) -> np.ndarray:
        """Frame ``index``, (H, W, 3) uint8 BGR as mmsegmentation loads images."""
        return _render(self, index)[0].copy()

    def address(self, index: int) -> str:
        """Of frame ``index``, by which :class:`SyntheticFrames` finds it."""
        height, width = self.size
        return f'{SCHEME}://{self.split}/{self.seed}/{height}x{width}/{index:05d}.png'

    def labels(self, index: int) -> np.ndarray:
        """Classes of frame ``index``, (H, W) uint8."""
        return _render(self, index)[1].copy()


@register_backend(SCHEME, prefixes=SCHEME, force=True)
class SyntheticFrames(BaseStorageBackend):
    """Frames as PNG files that are made when they are read, for steps that load ``img_path``, such as
    ``LoadImageFromFile``."""

    def get(self, filepath: str) -> bytes:
        """The file of a :meth:`SegVideo.address`."""
        split, seed, size, name = str(filepath).rpartition('://')[2].split('/')
        height, width = size.split('x')
        video = SegVideo(split, int(seed), (int(height), int(width)))
        return cv2.imencode('.png', video.frame(int(name.removesuffix('.png'))))[1].tobytes()

    def get_text(self, filepath: str) -> str:
        """Raise: these files are pictures."""
        raise NotImplementedError(f'{filepath}: a picture holds no text')


@lru_cache(maxsize=2048)
def _render(video: SegVideo, index: int) -> tuple[np.ndarray, np.ndarray]:
    picture, classes = _build(video).render(index)
    return np.ascontiguousarray(picture[..., ::-1]), classes


@lru_cache(maxsize=256)
def _build(video: SegVideo) -> Scene:
    """Two to four objects of random classes in front of a moving photograph."""
    rng = np.random.default_rng(video.seed)
    size = tuple(round(MARGIN * side) for side in video.size)
    backdrop, _, _ = sample_texture(rng, PHOTOGRAPHS[video.split], size, [], share=(0.55, 1.0))
    layers = [_object(rng, video.size) for _ in range(rng.integers(2, 5))]
    camera = Waves.sample(rng, strength=0.35)
    camera.amplitude[ROW['angle']] *= 0.3
    return Scene(video.size, layers, camera, backdrop)


def _object(rng: np.random.Generator, size: tuple[int, int]) -> Layer:
    kind = int(rng.integers(1, len(CLASSES)))
    layer = sample_object(rng, kind)
    layer.waves.amplitude[ROW['blend']] = 0
    layer.radius *= 1.2
    height, width = texture_size(layer, size)
    rows, columns = np.mgrid[:height, :width]
    bright = np.ones((height, width))
    if kind % 2 == 0:
        angle = rng.uniform(0, np.pi)
        period = rng.uniform(0.07, 0.1) * np.sqrt(size[0] * size[1])
        bright = np.where(
            np.sin(2 * np.pi / period * (np.cos(angle) * columns + np.sin(angle) * rows)) > 0, 1.25, 0.45
        )
    texture = np.clip(bright[..., None] * COLOURS[(kind - 1) // 2], 0, 255).astype(np.uint8)
    change = colour_matrix(
        rng.uniform(0.8, 1.2), rng.uniform(-0.1, 0.1), rng.uniform(0.6, 1.1), rng.normal(0, 0.25)
    )
    layer.textures.append(shaded(cv2.transform(texture, change), layer, rng.uniform(0, 2 * np.pi)))
    return layer


@DATASETS.register_module()
class SyntheticVideoSegDataset(VideoSegDataset):
    """Videos of moving, bending objects of four classes in front of photographs, without any download.

    No two splits share a photograph or a seed. ``DisturbFrame`` in the pipeline adds noise and hides parts of
    the frames.

    Args:
        split: 'train', 'dev' or 'test'.
        num_videos: How many.
        num_frames: T of each.
        size: (H, W) in pixels.
        seed: Another seed gives other videos.
        **kwargs: ``BaseSegDataset``'s.

    Raises:
        ValueError: An argument is out of range; the message names it.
    """

    METAINFO = dict(
        classes=CLASSES, palette=[[0, 0, 0], [235, 140, 50], [120, 60, 10], [60, 120, 225], [20, 50, 110]]
    )

    def __init__(
        self,
        split: str = 'train',
        num_videos: int = 20,
        num_frames: int = 16,
        size: tuple[int, int] = (64, 64),
        seed: int = 0,
        **kwargs,
    ):
        if split not in SPLITS:
            raise ValueError(f"split '{split}' is none of {', '.join(SPLITS)}")
        if min(num_videos, num_frames) < 1:
            raise ValueError(
                f'num_videos and num_frames must be at least 1, got {num_videos} and {num_frames}'
            )
        if len(size) != 2 or min(size) < 16:
            raise ValueError(f'size must be (H, W) with at least 16 pixels each, got {size}')
        self.split, self.num_videos, self.num_frames = split, num_videos, num_frames
        self.size, self.seed = tuple(size), seed
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """All frames of all videos."""
        infos = []
        for number in range(self.num_videos):
            video = SegVideo(self.split, scene_seed(self.split, VERSION, self.seed, number), self.size)
            name = f'{self.split}_{number:05d}'
            infos += [
                self.frame_info(name, i, video=video, img_path=video.address(i))
                for i in range(self.num_frames)
            ]
        return infos
