"""Recording sequences: keys and true masks at the memory's stride, once for all videos edited from them."""

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from mmstremn.datasets.vos.edited_videos import LOOKS, SourceSequence
from mmstremn.models import VOSegmentor
from mmstremn.utils.atomic import write_atomically


class Recording(NamedTuple):
    """A sequence at whole steps, in every look.

    Attributes:
        key: (L, N, P, Ck) float16, for L looks in the order of ``LOOKS`` and N steps.
        mask: (L, N, P) share of each position that the object covers.
        grid: (h, w) with h * w = P.
    """

    key: Tensor
    mask: Tensor
    grid: tuple[int, int]


@torch.no_grad()
def record(model: VOSegmentor, sequence: SourceSequence) -> Recording:
    """Run the key encoder over a sequence."""
    model.eval()
    pictures = [
        sequence.picture(step * sequence.stride, look) for look in LOOKS for step in range(sequence.steps)
    ]
    keys, masks = [], []
    for frame, mask in pictures:
        image = torch.as_tensor(frame.copy()).permute(2, 0, 1)[None].float()
        features = model.encode_frame(model.data_preprocessor.normalize(image))
        margins = model.data_preprocessor.margins(mask.shape)
        plane = F.pad(torch.as_tensor((mask == 1).copy())[None, None].float(), margins)
        keys.append(features.query.key[0].half())
        masks.append(F.adaptive_avg_pool2d(plane, features.grid).flatten().half())
    shape = len(LOOKS), sequence.steps
    return Recording(
        torch.stack(keys).unflatten(0, shape), torch.stack(masks).unflatten(0, shape), features.grid
    )


def read_or_record(model: VOSegmentor, sequence: SourceSequence, folder: Path) -> Recording:
    """The recording of a sequence, from its safetensors shard in ``folder`` or made and written now.

    The shard's name says the size and the stride; a folder is for one model.
    """
    height, width = sequence.size
    path = folder / f'{sequence.name}_{height}x{width}_every_{sequence.stride}.safetensors'
    if not path.exists():
        made = record(model, sequence)
        folder.mkdir(parents=True, exist_ok=True)
        about = {'looks': ' '.join(LOOKS), 'grid': f'{made.grid[0]} {made.grid[1]}'}
        write_atomically(path, save(dict(key=made.key, mask=made.mask), about))
        print_log(f'recorded {sequence.name}: {made.key.shape[1]} steps in {len(LOOKS)} looks', 'current')
    with safe_open(path, 'pt') as file:
        about = file.metadata()
        if about['looks'].split() != [*LOOKS]:
            raise ValueError(
                f"'{path}' has the looks {about['looks']}, expected {' '.join(LOOKS)}: remove it"
            )
        height, width = map(int, about['grid'].split())
        return Recording(file.get_tensor('key'), file.get_tensor('mask'), (height, width))
