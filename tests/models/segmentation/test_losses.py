"""The loss against the formulas, written out pixel by pixel in float64."""

import pytest
import torch

from mmstremn.models import BootstrappedCEDiceLoss
from mmstremn.models.segmentation.losses import dice_loss
from mmstremn.structures import VOID

B, T, OBJECTS, H, W = 2, 3, 2, 6, 5
ALL = torch.ones(B, OBJECTS, dtype=torch.bool)


@pytest.fixture
def case():
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(B, T, 1 + OBJECTS, H, W, generator=g)
    target = torch.randint(0, 1 + OBJECTS, (B, T, H, W), generator=g, dtype=torch.uint8)
    target[torch.rand(B, T, H, W, generator=g) < 0.2] = VOID
    return logits, target


def plain_pixels(logits, target):
    """-log p of the true class where it is known, for every frame a list."""
    p = logits.double().softmax(2)
    frames = []
    for b in range(B):
        for t in range(T):
            known = [(y, x) for y in range(H) for x in range(W) if target[b, t, y, x] != VOID]
            frames.append(torch.stack([-p[b, t, int(target[b, t, y, x]), y, x].log() for y, x in known]))
    return frames


def plain_dice(probabilities, target, sample, objects):
    total = 0.0
    for number in objects:
        for t in range(T):
            known = (target[sample, t] != VOID).double()
            p = probabilities[sample, t, number].double() * known
            g = (target[sample, t] == number).double()
            total += 1 - (2 * (p * g).sum() + 1) / (p.sum() + g.sum() + 1)
    return total / (T * len(objects))


def test_cross_entropy_of_all_known_pixels(case):
    got = BootstrappedCEDiceLoss()(*case, ALL)['loss_ce']
    expected = torch.stack([frame.mean() for frame in plain_pixels(*case)]).mean()
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    'iteration, share', [(0, 1.0), (20000, 1.0), (45000, 0.575), (70000, 0.15), (10**6, 0.15)]
)
def test_the_share_falls_linearly(iteration, share):
    assert BootstrappedCEDiceLoss().share(iteration) == pytest.approx(share)


def test_the_share_may_fall_at_once():
    loss = BootstrappedCEDiceLoss(begin_iter=5, end_iter=5)
    assert [loss.share(i) for i in (4, 5, 6)] == pytest.approx([1, 1, 0.15])


@pytest.mark.parametrize('iteration, share', [(45, 0.575), (70, 0.15)])
def test_the_hardest_pixels_count(case, iteration, share):
    got = BootstrappedCEDiceLoss(20, 70)(*case, ALL, iteration=iteration)['loss_ce']
    number = int(H * W * share)
    expected = torch.stack(
        [frame.sort(descending=True).values[:number].mean() for frame in plain_pixels(*case)]
    )
    torch.testing.assert_close(got.double(), expected.mean(), rtol=1e-5, atol=1e-6)
    assert got > BootstrappedCEDiceLoss(20, 70)(*case, ALL)['loss_ce']


def test_dice_equals_the_formula(case):
    logits, target = case
    got = dice_loss(logits.softmax(2), target, ALL)
    for sample in range(B):
        expected = plain_dice(logits.softmax(2), target, sample, [1, 2])
        torch.testing.assert_close(got[sample].double(), expected, rtol=1e-5, atol=1e-6)


def test_dice_of_the_truth_is_zero_and_of_its_opposite_near_one():
    target = torch.zeros(1, 1, 20, 20, dtype=torch.uint8)
    target[..., :10] = 1
    truth = torch.stack([target == 0, target == 1], 2).float()
    present = torch.ones(1, 1, dtype=torch.bool)
    assert dice_loss(truth, target, present) == 0
    assert dice_loss(1 - truth, target, present) > 0.99


def test_absent_objects_do_not_count(case):
    logits, target = case
    present = torch.tensor([[True, False], [True, True]])
    target[0][target[0] == 2] = 0
    got = dice_loss(logits.softmax(2), target, present)
    torch.testing.assert_close(
        got[0].double(), plain_dice(logits.softmax(2), target, 0, [1]), rtol=1e-5, atol=1e-6
    )


def test_what_is_predicted_where_void_does_not_count(case):
    logits, target = case
    logits.requires_grad_()
    for iteration in (0, 10**6):
        losses = BootstrappedCEDiceLoss()(logits, target, ALL, iteration)
        (gradient,) = torch.autograd.grad(sum(losses.values()), logits)
        void = (target == VOID).unsqueeze(2).expand_as(gradient)
        assert void.any()
        assert (gradient[void] == 0).all()
        assert gradient.isfinite().all()


def test_a_frame_of_void_has_no_loss(case):
    logits, target = case
    target[:] = VOID
    for iteration in (0, 10**6):
        losses = BootstrappedCEDiceLoss()(logits, target, ALL, iteration)
        assert losses['loss_ce'] == 0
        assert losses['loss_dice'].isfinite()


@pytest.mark.parametrize('iteration', [0, 45000, 10**6])
def test_the_loss_of_a_batch_is_the_mean_of_its_samples(case, iteration):
    logits, target = case
    loss = BootstrappedCEDiceLoss(dice_weight=0.7)
    whole = loss(logits, target, ALL, iteration)
    parts = [loss(logits[i : i + 1], target[i : i + 1], ALL[:1], iteration) for i in range(B)]
    for name in ('loss_ce', 'loss_dice'):
        torch.testing.assert_close(whole[name], torch.stack([part[name] for part in parts]).mean())


def test_dice_has_a_weight(case):
    one, other = (BootstrappedCEDiceLoss(dice_weight=w)(*case, ALL)['loss_dice'] for w in (1.0, 0.5))
    torch.testing.assert_close(other, 0.5 * one)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(top_share=0.0), 'top_share must be above 0 and at most 1, got 0.0'),
        (dict(top_share=15), 'top_share must be above 0 and at most 1, got 15'),
        (dict(dice_weight=-1), 'dice_weight must be at least 0, got -1'),
        (dict(begin_iter=30, end_iter=20), 'end_iter must be at least begin_iter=30, got 20'),
    ],
)
def test_settings_with_which_nothing_is_learned_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        BootstrappedCEDiceLoss(**options)
