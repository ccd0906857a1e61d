"""A stand-in for ``mmcv._ext``, so that mmdet can be imported and run where mmcv has no compiled ops.

``import mmdet.models`` imports ``mmcv.ops`` and that the compiled module ``mmcv._ext``. :func:`install` puts
a module in its place whose functions are made of torchvision's (nms, roi_align, sigmoid_focal_loss), of
autograd's, and of mmcv's own PyTorch version (multi-scale deformable attention). Every other op can be
imported and raises NotImplementedError when it is called. Where real ops exist nothing is done. Opt-in,
before mmdet is imported: call ``install()``, or in a config::

    custom_imports = dict(imports=['mmstremn.adapters.install_ops_stub'])

Enough for MaskTrack R-CNN, QDTrack and Mask2Former-VIS. On GPUs it is slower than compiled ops and deformable
attention takes more memory.
"""

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType

import torch
import torch.nn.functional as F
import torchvision.ops
from torch import Tensor

NAME = 'mmcv._ext'
BUILD = 'pip install --no-build-isolation --no-cache-dir --force-reinstall --no-deps onedl-mmcv (20 minutes)'


def install() -> bool:
    """Provide ``mmcv._ext`` where it is missing.

    Returns:
        Whether the stub is in place now; False: real ops exist (or mmcv is not there at all), nothing was
        changed.
    """
    if isinstance(sys.modules.get(NAME), OpsStub):
        return True
    if importlib.util.find_spec('mmcv') is None or importlib.util.find_spec(NAME) is not None:
        return False
    sys.modules[NAME] = OpsStub()
    return True


class OpsStub(ModuleType):
    """The module: ops that exist here, and for any other name a function that raises when it is called."""

    def __init__(self):
        super().__init__(NAME, __doc__)
        self.__spec__ = ModuleSpec(NAME, None, origin='mmstremn stub')
        for op in OPS:
            setattr(self, op.__name__, op)

    def __getattr__(self, name: str) -> Callable:
        if name.startswith('__'):
            raise AttributeError(f"module '{NAME}' has no attribute '{name}'")

        def missing(*args, **kwargs):
            raise NotImplementedError(
                f"the op '{name}' needs mmcv with compiled ops, and this is mmstremn's stub without it. "
                f'Build them: {BUILD}'
            )

        return missing


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the boxes (N, 4) that stay, by descending score; ``offset`` 1 counts both border pixels of a
    box."""
    corners = torch.cat([boxes[:, :2], boxes[:, 2:4] + offset], 1)
    return torchvision.ops.nms(corners, scores, iou_threshold)


def roi_align_forward(
    features: Tensor, rois: Tensor, output: Tensor, argmax_y: Tensor, argmax_x: Tensor, **how
) -> None:
    """Fill ``output`` (K, C, h, w) from ``features`` (N, C, H, W) and ``rois`` (K, 5); averages only."""
    output.copy_(_roi_align(features, rois, **how))


def roi_align_backward(
    grad_output: Tensor, rois: Tensor, argmax_y: Tensor, argmax_x: Tensor, grad_input: Tensor, **how
) -> None:
    """Fill ``grad_input`` (N, C, H, W); the op is linear, so it does not matter at which features it is
    derived."""
    with torch.enable_grad():
        features = torch.zeros_like(grad_input).requires_grad_()
        output = _roi_align(features, rois, **how)
    grad_input.copy_(torch.autograd.grad(output, features, grad_output)[0])


def _roi_align(
    features: Tensor,
    rois: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> Tensor:
    if pool_mode == 0:
        raise NotImplementedError(
            f"roi_align with pool_mode 'max' needs mmcv with compiled ops. Build them: {BUILD}"
        )
    size = (aligned_height, aligned_width)
    return torchvision.ops.roi_align(
        features, rois.to(features.dtype), size, spatial_scale, sampling_ratio, aligned
    )


def sigmoid_focal_loss_forward(
    logits: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``output`` (N, C) from ``logits`` (N, C) and ``target`` (N,) of 0..C, where C is the
    background."""
    output.copy_(_sigmoid_focal_loss(logits, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    logits: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``grad_input`` (N, C) with the derivative of the loss's sum."""
    with torch.enable_grad():
        leaf = logits.detach().requires_grad_()
        loss = _sigmoid_focal_loss(leaf, target, weight, gamma, alpha)
    grad_input.copy_(torch.autograd.grad(loss.sum(), leaf)[0])


def _sigmoid_focal_loss(logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float) -> Tensor:
    if weight.numel():
        raise NotImplementedError(
            f'sigmoid_focal_loss with class weights needs mmcv with compiled ops. Build them: {BUILD}'
        )
    one_hot = F.one_hot(target, logits.shape[1] + 1)[:, :-1].to(logits.dtype)
    return torchvision.ops.sigmoid_focal_loss(logits, one_hot, alpha, gamma)


def ms_deform_attn_forward(
    value: Tensor, shapes: Tensor, level_starts: Tensor, locations: Tensor, weights: Tensor, im2col_step: int
) -> Tensor:
    """Multi-scale deformable attention (B, Q, C), on any device; mmcv itself takes this way only on CPUs."""
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    return multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)


def ms_deform_attn_backward(
    value: Tensor,
    shapes: Tensor,
    level_starts: Tensor,
    locations: Tensor,
    weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_locations: Tensor,
    grad_weights: Tensor,
    im2col_step: int,
) -> None:
    """Fill the gradients of ``value``, ``locations`` and ``weights``."""
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in (value, locations, weights)]
        output = ms_deform_attn_forward(leaves[0], shapes, level_starts, *leaves[1:], im2col_step)
    gradients = torch.autograd.grad(output, leaves, grad_output)
    for target, gradient in zip((grad_value, grad_locations, grad_weights), gradients, strict=True):
        target.copy_(gradient)


def get_compiler_version() -> str:
    """For reports on the environment."""
    return 'n/a (mmstremn stub)'


def get_compiling_cuda_version() -> str:
    """For reports on the environment."""
    return 'n/a (mmstremn stub)'


OPS = (
    nms,
    roi_align_forward,
    roi_align_backward,
    sigmoid_focal_loss_forward,
    sigmoid_focal_loss_backward,
    ms_deform_attn_forward,
    ms_deform_attn_backward,
    get_compiler_version,
    get_compiling_cuda_version,
)
