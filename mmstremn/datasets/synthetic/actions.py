"""Embedded clips of actions: a shape rests, moves or changes its size, and rests again. No download."""

from typing import Any

import cv2
import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.structures import BaseDataElement

from mmstremn.datasets.samplers import SampleRequest
from mmstremn.datasets.synthetic.short_videos import NUM_VIDEOS, SPLITS, scene_seed
from mmstremn.registry import DATASETS

ACTIONS = {
    'left': (-1, 0, 0),
    'right': (1, 0, 0),
    'up': (0, -1, 0),
    'down': (0, 1, 0),
    'grow': (0, 0, 1),
    'shrink': (0, 0, -1),
}
"""The names of the actions; the sign of the change of x (to the right), y (downwards) and log radius."""
DISTANCE = (0.25, 0.35)
"""How far a shape moves in all, as a share of the picture's side."""
MARGIN = 0.2
"""Centres stay this far from the picture's border, as a share of its side."""
RADIUS, GROWTH = (0.1, 0.15), (1.7, 2.1)
"""The smallest radius as a share of the picture's side, and by how much a shape grows in all."""
FIXED_POINT = 4
"""Bits behind the point of OpenCV's coordinates."""


@DATASETS.register_module()
class SyntheticActionDataset(BaseDataset):
    """Clips of a polygon that rests, then moves left, right, up or down, grows or shrinks, and rests again.

    The set of a clip's frames without their order does not tell left from right, up from down or growing from
    shrinking: each pair covers the same places and sizes, and the two rests are equally long on average. So
    without order at most half of the answers are right. When the action takes place is random, so the last
    frames alone often show none.

    A training item is made from ``request.seed``, so training never sees a clip twice; in ``test_mode`` the
    clips are fixed.

    Args:
        split: 'train', 'dev' or 'test'; no two share a clip.
        num_clips: Length; nominal in training.
        num_frames: T.
        num_moves: Steps of the action, 1..T - 1.
        size: Side of the square frames in pixels.
        seed: Another seed gives other clips.
        test_mode: Fixed clips; by default for dev and test.
        **kwargs: ``BaseDataset``'s.

    Raises:
        ValueError: An argument is out of range; the message names it.
    """

    METAINFO = dict(classes=tuple(ACTIONS))

    def __init__(
        self,
        split: str = 'train',
        num_clips: int | None = None,
        num_frames: int = 12,
        num_moves: int = 4,
        size: int = 32,
        seed: int = 0,
        test_mode: bool | None = None,
        **kwargs: Any,
    ):
        if split not in SPLITS:
            raise ValueError(f"split '{split}' is none of {', '.join(SPLITS)}")
        if not 1 <= num_moves < num_frames:
            raise ValueError(f'num_moves must be in 1..num_frames - 1 = {num_frames - 1}, got {num_moves}')
        if size < 16:
            raise ValueError(f'size must be at least 16 pixels, got {size}')
        self.split, self.num_frames, self.num_moves, self.size, self.seed = (
            split,
            num_frames,
            num_moves,
            size,
            seed,
        )
        self.num_clips = NUM_VIDEOS[split] if num_clips is None else num_clips
        super().__init__(test_mode=split != 'train' if test_mode is None else test_mode, **kwargs)

    def load_data_list(self) -> list[dict]:
        """The clips' seeds; classes come in turn."""
        return [
            dict(seed=scene_seed(self.split, 1, self.seed, i), label=i % len(ACTIONS))
            for i in range(self.num_clips)
        ]

    def __getitem__(self, request: SampleRequest | int) -> dict:
        """``dict(inputs=(T, 3, H, W) uint8, data_samples=sample with gt_label, () long)``."""
        if self.test_mode:
            info = self.get_data_info(int(request[0] if isinstance(request, tuple) else request))
            rng, label = np.random.default_rng(info['seed']), info['label']
        else:
            rng = np.random.default_rng(scene_seed(self.split, 1, self.seed, request.seed, 0))
            label = int(rng.integers(len(ACTIONS)))
        sample = BaseDataElement(gt_label=torch.tensor(label), metainfo=dict(action=tuple(ACTIONS)[label]))
        if hasattr(request, 'seed'):
            sample.set_metainfo(dict(sample_seed=request.seed))
        return dict(inputs=torch.from_numpy(self._render(rng, tuple(ACTIONS)[label])), data_samples=sample)

    def _render(self, rng: np.random.Generator, action: str) -> np.ndarray:
        """(T, 3, H, W) uint8 frames."""
        first = rng.integers(self.num_frames - self.num_moves)
        progress = np.clip((np.arange(self.num_frames) - first) / self.num_moves, 0, 1)
        signs = np.array(ACTIONS[action])
        change = np.array(
            [rng.uniform(*DISTANCE), rng.uniform(*DISTANCE), np.log(rng.uniform(*GROWTH))]
        ) * abs(signs)
        lowest = np.array([*rng.uniform(MARGIN, 1 - MARGIN - change[:2]), np.log(rng.uniform(*RADIUS))])
        # A change in the other direction is the same, backwards.
        poses = lowest + change * np.where(signs < 0, 1 - progress[:, None], progress[:, None])
        number = rng.integers(3, 7)
        corners = 2 * np.pi * (np.arange(number) + rng.random()) / number
        back, front = rng.uniform(0, 110, 3), rng.uniform(145, 255, 3)
        frames = [back + (front - back) * _polygon(self.size, *pose, corners)[..., None] for pose in poses]
        noise = rng.normal(0, 8, (self.num_frames, self.size, self.size, 1))
        return np.ascontiguousarray(
            np.clip(np.stack(frames) + noise, 0, 255).astype(np.uint8).transpose(0, 3, 1, 2)
        )


def _polygon(size: int, x: float, y: float, log_radius: float, corners: np.ndarray) -> np.ndarray:
    """Coverage (H, W) in 0..1 of a picture by the regular polygon with corners at these angles; lengths in
    sides."""
    points = size * (np.exp(log_radius) * np.stack([np.cos(corners), np.sin(corners)], 1) + (x, y)) - 0.5
    canvas = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(
        canvas, np.round(points * 2**FIXED_POINT).astype(np.int32), 255, cv2.LINE_AA, FIXED_POINT
    )
    return canvas / 255
