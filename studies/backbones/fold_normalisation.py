"""Weights of a timm backbone for images x * 2 - 1 to weights for images with ImageNet's mean and deviation.

    python studies/backbones/fold_normalisation.py IN.pth OUT.pth

The first convolution and the batch norm after it take the change. The border, where the convolution pads with
zeros, differs: the picture now goes on in the mean colour of ImageNet instead of in grey.
"""

import sys

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor


def fold(weights: dict[str, Tensor], conv: str = 'conv_stem', norm: str = 'bn1') -> dict[str, Tensor]:
    """x * 2 - 1 is n * 2 s + 2 m - 1 of the normalised image n, with mean m and deviation s."""
    mean, std = torch.tensor(IMAGENET_DEFAULT_MEAN), torch.tensor(IMAGENET_DEFAULT_STD)
    kernel = weights[f'{conv}.weight']
    constant = kernel.sum((2, 3)) @ (2 * mean - 1)
    return weights | {
        f'{conv}.weight': kernel * (2 * std)[:, None, None],
        f'{norm}.running_mean': weights[f'{norm}.running_mean'] - constant,
    }


if __name__ == '__main__':
    source, target = sys.argv[1:]
    torch.save(fold(torch.load(source, weights_only=True)), target)
