"""The embedded data: endless synthetic videos with exact masks, without any download."""

from hashlib import blake2b
from typing import Any

from mmstremn.datasets.samplers import SampleRequest
from mmstremn.datasets.synthetic.photos import PHOTOGRAPHS
from mmstremn.datasets.synthetic.rendered_video import SyntheticVideo
from mmstremn.datasets.synthetic.scene import SceneSpec
from mmstremn.datasets.vos.base import VOSDataset
from mmstremn.registry import DATASETS

SPLITS = tuple(PHOTOGRAPHS)
NUM_VIDEOS = {'train': 1000, 'dev': 10, 'test': 20}
SCENE_TRIES = 4


def scene_seed(split: str, version: int, *numbers: int) -> int:
    """A scene's seed, below 2**62: its top two bits are the split's, so no two splits ever share a seed."""
    digest = blake2b(repr((split, version, *map(int, numbers))).encode(), digest_size=8).digest()
    return SPLITS.index(split) << 60 | int.from_bytes(digest, 'big') >> 4


@DATASETS.register_module()
class SyntheticVOSDataset(VOSDataset):
    """Deformable textured objects in front of moving backdrops, behind occluders and beside look-alikes.

    1 to ``max_objects`` objects move, turn, grow, bend and change their colours or their texture; some leave
    the picture and come back. All are well visible (1.5 % of the picture) in frame 0, or where they appear if
    later. The textures are whole photographs that scikit-image and scikit-learn install; no two splits share
    a photograph or a seed.

    A training item (``test_mode`` off) is a clip of a scene that is made from ``request.seed``, so training
    never sees a scene twice; the length of the data set is only nominal. In ``test_mode`` the videos are
    fixed.

    Args:
        split: 'train', 'dev' or 'test'.
        num_videos: Length; by default 1000, 10 and 20 for the three splits.
        num_frames: T of every video.
        size: (H, W) in pixels.
        max_objects: Most objects of a scene, at most 254.
        seed: Another seed gives other videos.
        version: Of the recipe for seeds, for data sets that must not share videos.
        late_objects: Probability that an object, but the first, appears after frame 0.
        test_mode: Whole videos instead of clips; by default for dev and test.
        **kwargs: See ``VOSDataset``.

    Raises:
        ValueError: An argument is out of range; the message names it.
    """

    def __init__(
        self,
        split: str = 'train',
        num_videos: int | None = None,
        num_frames: int = 30,
        size: tuple[int, int] = (128, 128),
        max_objects: int = 3,
        seed: int = 0,
        version: int = 1,
        late_objects: float = 0.0,
        test_mode: bool | None = None,
        **kwargs: Any,
    ):
        if split not in SPLITS:
            raise ValueError(f"split '{split}' is none of {', '.join(SPLITS)}")
        self.split = split
        self.num_videos = NUM_VIDEOS[split] if num_videos is None else num_videos
        self.num_frames = num_frames
        self.size = tuple(size)
        self.seed = seed
        self.version = version
        self.late_objects = late_objects
        _check_range('num_videos', self.num_videos, 1)
        _check_range('num_frames', num_frames, 1)
        _check_range('max_objects', max_objects, 1, 254)
        _check_range('late_objects', late_objects, 0, 1)
        if len(self.size) != 2 or min(self.size) < 16:
            raise ValueError(f'size must be (H, W) with at least 16 pixels each, got {size}')
        test_mode = split != 'train' if test_mode is None else test_mode
        super().__init__(max_objects=max_objects, test_mode=test_mode, **kwargs)

    def load_data_list(self) -> list[dict]:
        """The fixed videos of ``test_mode``."""
        return [
            dict(
                video=self._video(
                    scene_seed(self.split, self.version, self.seed, index), f'{self.split}_{index:05d}'
                )
            )
            for index in range(self.num_videos)
        ]

    def get_video(self, request: SampleRequest) -> SyntheticVideo:
        """The video ``request.index`` in ``test_mode``, or a new one made from ``request.seed``."""
        if self.test_mode:
            return super().get_video(request)
        seed = scene_seed(self.split, self.version, self.seed, request.seed, 0)
        return self._video(seed, f'{self.split}_seed{request.seed}')

    def train_item(self, request: SampleRequest) -> dict:
        """A clip of the scene of ``request.seed``, or of the next where that scene hardly shows its object.

        Raises:
            ValueError: The pipeline leaves no object in the clips of several scenes.
        """
        for step in range(SCENE_TRIES):
            try:
                return self.draw_clip(request._replace(seed=request.seed + step), take_smaller=False)
            except ValueError:
                if step == SCENE_TRIES - 1:
                    raise

    def _video(self, seed: int, name: str) -> SyntheticVideo:
        spec = SceneSpec(self.split, seed, self.size, self.max_objects, self.late_objects)
        return SyntheticVideo(spec, self.num_frames, name)


def _check_range(name: str, value: float, low: float, high: float = float('inf')):
    if not low <= value <= high:
        raise ValueError(f'{name} must be in {low}..{high}, got {value}')
