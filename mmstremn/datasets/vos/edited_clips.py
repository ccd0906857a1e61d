"""Training clips in which objects go and come back."""

from typing import Any

import numpy as np
from torch.utils.data import Dataset

from mmstremn.datasets.samplers import SampleRequest
from mmstremn.datasets.vos.base import TRIES
from mmstremn.datasets.vos.edits import EDITS, Clip
from mmstremn.datasets.vos.weighting import build_inner
from mmstremn.registry import DATASETS


@DATASETS.register_module()
class EditedClips(Dataset):
    """The clips of another data set, edited: cuts to foreign scenes, occluders, objects that vanish, other
    backgrounds (see :mod:`mmstremn.datasets.vos.edits`).

    The first frame, whose masks are given, is never edited. What is foreign comes from another video of the
    same data set. Everything random is a function of the request's seed.

    Args:
        dataset: Config of a data set of training clips that all have one size.
        edits: How often each edit is drawn, by its name, and ``none``; relative numbers.
        max_edits: Edits a clip, 1 to this many, one after the other.
        **common: Arguments of the data set that its config leaves out.

    Raises:
        ValueError: An unknown edit, edits that are never drawn, clips of different sizes, or a data set of
            one video.
        TypeError: Neither it nor the data set has an argument of a name in ``common``.
    """

    def __init__(
        self, dataset: dict, edits: dict[str, float] | None = None, max_edits: int = 2, **common: Any
    ):
        edits = dict.fromkeys([*EDITS, 'none'], 1) if edits is None else dict(edits)
        if unknown := edits.keys() - EDITS.keys() - {'none'}:
            raise ValueError(
                f'EditedClips.edits: unknown {sorted(unknown)}, expected names of {[*EDITS, "none"]}'
            )
        if min(edits.values(), default=0) < 0 or sum(edits.values()) <= 0:
            raise ValueError(
                f'EditedClips.edits: expected numbers of at least 0, one of them above, got {edits}'
            )
        if max_edits < 1:
            raise ValueError(f'EditedClips.max_edits: expected at least 1, got {max_edits}')
        self.dataset = build_inner('EditedClips', dataset, common, ['dataset', 'edits', 'max_edits'])
        self.names = list(edits)
        self.shares = np.array(list(edits.values()), float) / sum(edits.values())
        self.max_edits = max_edits
        self.metainfo = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, request: SampleRequest | int) -> dict:
        if not isinstance(request, SampleRequest):
            request = SampleRequest(int(request), int(request))
        item = self.dataset[request]
        rng = np.random.default_rng((request.seed, 1))
        clip = Clip(item['inputs'], item['data_samples'].masks)
        for _ in range(rng.integers(1, self.max_edits + 1)):
            name = rng.choice(self.names, p=self.shares)
            if name != 'none':
                span = _draw_span(len(clip.frames), rng)
                EDITS[name](clip, span, self._draw_other(item, rng), rng)
        return item

    def _draw_other(self, item: dict, rng: np.random.Generator) -> Clip:
        """A clip of another video."""
        clip = Clip(item['inputs'], item['data_samples'].masks)
        for _ in range(TRIES):
            other = self.dataset[SampleRequest(int(rng.integers(len(self))), int(rng.integers(2**31)))]
            if other['data_samples'].video_name != item['data_samples'].video_name:
                break
        else:
            raise ValueError(
                f"EditedClips: {TRIES} samples drawn, all of the video '{item['data_samples'].video_name}'; "
                'expected a data set of several videos'
            )
        other = Clip(other['inputs'], other['data_samples'].masks)
        if other.frames.shape != clip.frames.shape:
            raise ValueError(
                f'EditedClips: clips of the sizes {tuple(clip.frames.shape)} and '
                f'{tuple(other.frames.shape)}, expected a pipeline after which all have one size'
            )
        return other


def _draw_span(length: int, rng: np.random.Generator) -> slice:
    """Frames of a clip, without the first."""
    begin = int(rng.integers(1, length))
    return slice(begin, int(rng.integers(begin, length)) + 1)
