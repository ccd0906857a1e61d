"""Batch norms become part of the convolutions before them, for inference."""

from typing import TypeGuard

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


@torch.no_grad()
def fuse_conv_bn(model: nn.Module) -> int:
    """Fold every batch norm that follows a convolution into it; masks stay the same but for rounding.

    Afterwards the model is for inference only: its batch norms are gone, from the state dict too.

    Args:
        model: In evaluation mode; changed in place. As in mmcv, a batch norm is taken to follow the
            convolution that is registered before it.

    Returns:
        How many were folded.

    Raises:
        ValueError: The model is in training mode.
    """
    if model.training:
        raise ValueError('fuse_conv_bn: the model is in training mode, expected model.eval()')
    folded = 0
    before: nn.Module | None = None
    for name, child in list(model.named_children()):
        if isinstance(child, nn.BatchNorm2d) and _fits(before, child):
            fused = fuse_conv_bn_eval(before, child)
            before.weight, before.bias = fused.weight, fused.bias
            setattr(model, name, child.act if isinstance(child, BatchNormAct2d) else nn.Identity())
            folded += 1
        else:
            folded += fuse_conv_bn(child)
        before = child[-1] if isinstance(child, nn.Sequential) and len(child) else child
    return folded


def _fits(before: nn.Module | None, norm: nn.BatchNorm2d) -> TypeGuard[nn.Conv2d]:
    return (
        isinstance(before, nn.Conv2d)
        and before.out_channels == norm.num_features
        and norm.running_mean is not None
    )
