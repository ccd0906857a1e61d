"""What comparisons of memories start from."""

from pathlib import Path

import torch

from helpers.runs import DATA
from mmstremn.apis import init_segmentor


def start_checkpoint(folder: Path) -> Path:
    """A checkpoint of the small model with its own memory, a learned selector."""
    path = folder / 'start.pth'
    torch.manual_seed(7)
    torch.save(init_segmentor(DATA / 'small_vos.py', device='cpu').state_dict(), path)
    return path
