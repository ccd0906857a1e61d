"""The stub of mmcv's compiled ops against plain formulas and torchvision, and mmdet's models on it."""

import importlib.util
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
import torchvision.ops

from mmstremn.adapters import mmcv_ops_stub as stub

ROI = dict(aligned_height=3, aligned_width=2, spatial_scale=0.5, sampling_ratio=2, pool_mode=1, aligned=True)


def real_ops() -> bool:
    spec = importlib.util.find_spec('mmcv._ext')
    return spec is not None and spec.loader is not None


@pytest.fixture
def ext():
    return stub.OpsStub()


def random_boxes(number, generator, offset=3.0):
    corner = torch.rand(number, 2, generator=generator) * 20
    return torch.cat([corner, corner + offset + torch.rand(number, 2, generator=generator) * 10], 1)


@pytest.mark.parametrize('offset', [0, 1])
def test_nms_is_greedy(ext, offset):
    generator = torch.Generator().manual_seed(0)
    boxes, scores = random_boxes(40, generator), torch.rand(40, generator=generator)
    kept = []
    for index in scores.argsort(descending=True).tolist():
        ious = [_iou(boxes[index], boxes[other], offset) for other in kept]
        if all(iou <= 0.4 for iou in ious):
            kept.append(index)
    assert ext.nms(boxes, scores, iou_threshold=0.4, offset=offset).tolist() == kept
    assert 1 < len(kept) < 40


def _iou(one, other, offset):
    sides = torch.minimum(one[2:], other[2:]) - torch.maximum(one[:2], other[:2]) + offset
    inner = sides.clamp(min=0).prod()
    areas = [(box[2:] - box[:2] + offset).prod() for box in (one, other)]
    return inner / (sum(areas) - inner)


def test_roi_align_forward_and_backward(ext):
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(2, 4, 12, 12, generator=generator, dtype=torch.float64).requires_grad_()
    rois = torch.cat([torch.tensor([[0.0], [1], [1]]), random_boxes(3, generator)], 1).double()
    expected = torchvision.ops.roi_align(features, rois, (3, 2), 0.5, 2, True)
    grad = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    (expected_grad,) = torch.autograd.grad(expected, features, grad)
    none = features.new_zeros(0)
    output, grad_input = torch.zeros_like(expected), torch.zeros_like(features)
    with torch.no_grad():
        ext.roi_align_forward(features, rois, output, none, none, **ROI)
        ext.roi_align_backward(grad, rois, none, none, grad_input, **ROI)
    assert torch.equal(output, expected)
    assert torch.allclose(grad_input, expected_grad)
    assert grad_input.abs().sum() > 0


def test_focal_loss_is_its_formula(ext):
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    target = torch.tensor([0, 1, 2, 3, 3, 0])  # 3 is the background
    leaf = logits.clone().requires_grad_()
    hot = F.one_hot(target, 4)[:, :3]
    p = leaf.sigmoid()
    expected = torch.where(hot == 1, -0.25 * (1 - p) ** 2 * p.log(), -0.75 * p**2 * (1 - p).log())
    (expected_grad,) = torch.autograd.grad(expected.sum(), leaf)
    output, grad = torch.zeros_like(logits), torch.zeros_like(logits)
    none = logits.new_zeros(0)
    ext.sigmoid_focal_loss_forward(logits, target, none, output, gamma=2.0, alpha=0.25)
    ext.sigmoid_focal_loss_backward(logits, target, none, grad, gamma=2.0, alpha=0.25)
    assert torch.allclose(output, expected.detach()) and torch.allclose(grad, expected_grad)
    with pytest.raises(NotImplementedError, match='class weights'):
        ext.sigmoid_focal_loss_forward(logits, target, torch.ones(3), output, gamma=2.0, alpha=0.25)


def test_what_is_missing_says_so_when_called(ext):
    missing = ext.deform_conv_forward
    with pytest.raises(NotImplementedError, match=r'deform_conv_forward.*Build them: pip install'):
        missing(1, 2)
    with pytest.raises(NotImplementedError, match='max'):
        ext.roi_align_forward(*[torch.zeros(0)] * 5, **ROI | dict(pool_mode=0))
    assert not hasattr(ext, '__path__')


def run(code: str) -> str:
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_config_installs_it_or_leaves_real_ops_alone(tmp_path):
    pytest.importorskip('mmcv')
    config = tmp_path / 'config.py'
    config.write_text("custom_imports = dict(imports=['mmstremn.adapters.install_ops_stub'])")
    code = (
        'import sys\nfrom mmengine.config import Config\n'
        "import mmstremn\nassert 'mmcv._ext' not in sys.modules\n"
        f"Config.fromfile(r'{config}')\n"
        'from mmstremn.adapters.mmcv_ops_stub import OpsStub, install\n'
        "import mmcv.ops\nprint(isinstance(sys.modules['mmcv._ext'], OpsStub), install())"
    )
    assert run(code).split() == [str(not real_ops())] * 2


def test_real_ops_are_left_alone(tmp_path):
    """A package mmcv with an _ext of its own."""
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv/__init__.py').write_text('')
    (tmp_path / 'mmcv/_ext.py').write_text('real = True')
    code = (
        f"import sys; sys.path.insert(0, r'{tmp_path}')\n"
        'from mmstremn.adapters.mmcv_ops_stub import install\n'
        'assert install() is False\nimport mmcv._ext\nprint(mmcv._ext.real)'
    )
    assert run(code).strip() == 'True'


@pytest.mark.skipif(real_ops(), reason='real ops are there')
class TestOnTheStub:
    """mmcv's own functions."""

    @pytest.fixture(autouse=True)
    def installed(self):
        pytest.importorskip('mmcv')
        assert stub.install()

    def test_mmcv_roi_align_and_nms(self):
        from mmcv.ops import RoIAlign, batched_nms

        generator = torch.Generator().manual_seed(3)
        features = torch.randn(1, 2, 10, 10, generator=generator).requires_grad_()
        boxes = random_boxes(5, generator)
        rois = torch.cat([torch.zeros(5, 1), boxes], 1)
        output = RoIAlign(4, 0.5, 0)(features, rois)
        output.square().sum().backward()
        other = features.detach().requires_grad_()
        torchvision.ops.roi_align(other, rois, 4, 0.5, -1, True).square().sum().backward()
        assert torch.allclose(features.grad, other.grad, atol=1e-6)
        classes = torch.tensor([0, 0, 1, 1, 1])
        scores = torch.rand(5, generator=generator)
        _, kept = batched_nms(boxes, scores, classes, dict(type='nms', iou_threshold=0.3))
        assert kept.tolist() == torchvision.ops.batched_nms(boxes, scores, classes, 0.3).tolist()

    def test_deformable_attention_forward_and_backward(self):
        from mmcv.ops.multi_scale_deform_attn import (
            MultiScaleDeformableAttnFunction as Function,
            multi_scale_deformable_attn_pytorch,
        )

        generator = torch.Generator().manual_seed(4)
        shapes = torch.tensor([[4, 4], [2, 2]])
        value = torch.randn(1, 20, 2, 3, generator=generator)
        places = torch.rand(1, 5, 2, 2, 2, 2, generator=generator)
        weights = torch.rand(1, 5, 2, 2, 2, generator=generator)
        results = []
        for function in (
            lambda v, p, w: Function.apply(v, shapes, torch.tensor([0, 16]), p, w, 64),
            lambda v, p, w: multi_scale_deformable_attn_pytorch(v, shapes, p, w),
        ):
            leaves = [tensor.clone().requires_grad_() for tensor in (value, places, weights)]
            output = function(*leaves)
            output.square().sum().backward()
            results.append([output.detach(), *(leaf.grad for leaf in leaves)])
        for one, other in zip(*results, strict=True):
            assert torch.allclose(one, other, atol=1e-6)

    def test_environment_report(self):
        pytest.importorskip('mmcv')
        from mmcv.utils import collect_env

        assert 'stub' in collect_env()['MMCV Compiler']
