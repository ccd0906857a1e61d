"""Clip transforms: masks go where the frames go, and packing chooses the objects."""

import numpy as np
import pytest
import torch
from helpers.davis_tree import draw_frame, draw_ids
from torchvision import tv_tensors

from mmstremn.datasets.vos import transforms
from mmstremn.datasets.vos.transforms import MEAN_COLOUR, ClipTransform, PackClip
from mmstremn.registry import TRANSFORMS, build
from mmstremn.utils.seeding import seeded


def make_clip(length=3, ids=(1,)):
    """A clip whose frames are all the same, bright (100) where the mask is 1."""
    mask = draw_ids(0, ids, size=(96, 96))
    mask[40:80, 40:80] = ids[0]
    frames = torch.from_numpy(draw_frame(mask)).permute(2, 0, 1).expand(length, -1, -1, -1)
    masks = torch.from_numpy(mask).expand(length, -1, -1)
    return dict(frames=tv_tensors.Video(frames), masks=tv_tensors.Mask(masks), kept='as it is')


def apply(seed=0, **config):
    with seeded(seed):
        return build(dict(type='ClipTransform', **config), TRANSFORMS)(make_clip())


GEOMETRY = [
    dict(name='RandomResizedCrop', size=(64, 80), scale=(0.5, 1)),
    dict(name='RandomAffine', degrees=30, shear=15, scale=(0.7, 1.3), translate=(0.2, 0.2)),
    dict(name='RandomHorizontalFlip', p=1.0),
    dict(name='RandomRotation', degrees=40),
    dict(name='RandomPerspective', distortion_scale=0.3),
    dict(name='ElasticTransform', alpha=30.0),
    dict(name='Resize', size=(50, 70)),
    dict(name='CenterCrop', size=64),
]


@pytest.mark.parametrize('per_frame', [False, True])
@pytest.mark.parametrize('config', GEOMETRY, ids=lambda config: config['name'])
def test_masks_stick_to_the_objects(config, per_frame):
    for seed in range(5):
        results = apply(seed, per_frame=per_frame, **config)
        frames, masks = results['frames'], results['masks']
        assert isinstance(frames, tv_tensors.Video) and isinstance(masks, tv_tensors.Mask)
        assert frames.shape == (3, 3, *masks.shape[1:]) and frames.dtype == masks.dtype == torch.uint8
        assert set(masks.unique().tolist()) <= {0, 1} and masks.any()
        filled = frames[:, 1].int().sub(MEAN_COLOUR[1]).abs() < 25
        bright = (frames[:, 2] > 70) & (frames[:, 2] < 103) & ~(filled & (frames[:, 0] > frames[:, 2] + 5))
        union, shared = (bright | (masks > 0)).sum(), (bright & (masks > 0)).sum()
        assert shared / union > 0.85
        assert results['kept'] == 'as it is'


def test_parameters_are_drawn_for_the_clip_or_for_each_frame():
    affine = dict(name='RandomAffine', degrees=30, translate=(0.2, 0.2))
    clip, frames = apply(**affine)['masks'], apply(per_frame=True, **affine)['masks']
    assert torch.equal(clip[0], clip[1]) and torch.equal(clip[0], clip[2])
    assert not torch.equal(frames[0], frames[1]) and not torch.equal(frames[1], frames[2])


def test_outside_of_the_picture_is_mean_colour_and_background():
    results = apply(name='RandomAffine', degrees=0, translate=(0.4, 0.4), scale=(0.3, 0.3), per_frame=True)
    corners = results['frames'][:, :, [0, 0, -1, -1], [0, -1, 0, -1]].permute(0, 2, 1).reshape(-1, 3)
    assert (corners == torch.tensor(MEAN_COLOUR)).all(1).any()
    assert results['masks'].max() == 1


def test_probability_of_applying():
    plain = make_clip()['masks'][0]
    crop = dict(name='RandomAffine', degrees=0, translate=(0.3, 0.3), p=0.25)
    clips = [(apply(seed, **crop)['masks'] != plain).flatten(1).any(1) for seed in range(100)]
    frames = [
        (apply(seed, per_frame=True, **crop)['masks'] != plain).flatten(1).any(1) for seed in range(100)
    ]
    assert 0.15 < torch.stack(clips).float().mean() < 0.35
    assert 0.15 < torch.stack(frames).float().mean() < 0.35
    assert all(clip.all() or not clip.any() for clip in clips)
    assert any(frame.any() and not frame.all() for frame in frames)


def test_colour_transforms_leave_the_masks():
    results = apply(name='ColorJitter', brightness=0.5, per_frame=True)
    assert torch.equal(results['masks'], make_clip()['masks'])
    assert not torch.equal(results['frames'][0], results['frames'][1])


def test_unknown_transform_names_what_is_meant():
    with pytest.raises(ValueError, match=r"'RandomResizeCrop' is no transform.*RandomResizedCrop"):
        ClipTransform('RandomResizeCrop')


def test_a_probability_is_one_and_is_said_where_two_are_drawn(monkeypatch):
    said = []
    monkeypatch.setattr(transforms, 'print_log', lambda message, *_: said.append(message))
    for p in (1.5, -0.1):
        with pytest.raises(
            ValueError, match=rf'ClipTransform\(Grayscale\)\.p: expected .* in 0\.\.1, got {p}'
        ):
            ClipTransform('Grayscale', p=p)
    ClipTransform('Grayscale', p=0.05)
    ClipTransform('RandomGrayscale')
    assert not said
    ClipTransform('RandomGrayscale', p=0.05)
    message = 'drawn with p=0.05, then by itself with p=0.1: 0.005 in all'
    assert said == [f'ClipTransform(RandomGrayscale): {message}']


@pytest.mark.parametrize('wrong, meant', [('degree', 'degrees'), ('per_frames', 'per_frame')])
def test_an_argument_that_the_transform_does_not_take_is_refused(wrong, meant):
    message = rf'ClipTransform\(RandomAffine\)\.{wrong}: there is no such argument\. Did you mean {meant}\?'
    with pytest.raises(TypeError, match=message):
        TRANSFORMS.build(dict(type='ClipTransform', name='RandomAffine', degrees=5) | {wrong: 10})


def pack(masks, max_objects=3, min_object_area=1):
    masks = torch.as_tensor(np.array(masks), dtype=torch.uint8)
    return PackClip()(
        dict(
            frames=tv_tensors.Video(torch.zeros(len(masks), 3, *masks.shape[1:], dtype=torch.uint8)),
            masks=tv_tensors.Mask(masks),
            video_name='v',
            frame_indices=[0, 1],
            sample_seed=0,
            max_objects=max_objects,
            min_object_area=min_object_area,
        )
    )


def test_pack_keeps_visible_objects_and_void():
    item = pack([[[0, 5, 5, 9]], [[255, 9, 7, 5]]], min_object_area=2)
    assert item['data_samples'].masks.tolist() == [[[0, 1, 1, 0]], [[255, 0, 0, 1]]]
    assert item['data_samples'].object_ids == [5]


def test_pack_gives_nothing_without_objects_in_the_first_frame():
    assert pack([[[0, 255]], [[1, 1]]]) is None
    assert pack([[[1, 255]], [[1, 1]]], min_object_area=2) is None
