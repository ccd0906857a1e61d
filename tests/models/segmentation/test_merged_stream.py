"""Flip and several sizes at test time: the mean of streams that each see the video in their own way."""

import gc
import json

import numpy as np
import pytest
import torch
from helpers.no_questions import NoQuestions
from helpers.runs import SMALL_VOS, run_tool
from helpers.vos_cases import SquaresVideo, make_sample, tiny_config, tiny_model
from mmengine.config import Config

from mmstremn.datasets import SyntheticVOSDataset
from mmstremn.models import MergedStream, VOSStream
from mmstremn.models.segmentation.given_masks import impose
from mmstremn.models.segmentation.inference import slot_stamps
from mmstremn.models.segmentation.merged_stream import variants_of
from mmstremn.registry import MODELS
from mmstremn.structures import read_masks
from mmstremn.utils.palette import decode_palette_png

MEMORIES = {'slots': dict(type='SlotMemory', num_slots=3), 'stm': dict(type='GrowingMemory', keep_last=True)}
FLIP_AND_SIZES = dict(flip=True, short_sides=(32, 48))
SIZES = pytest.mark.parametrize('size', [(40, 56), (37, 53)], ids=['even', 'odd'])


def model_with(test_time, memory='slots', **kwargs):
    return tiny_model(MEMORIES[memory], test_time=test_time, **kwargs).eval()


def prompt(video, index):
    """What a user gives: the first masks with void pixels, a new object in frame 3, a correction of it in
    frame 5."""
    if index in (0, 3):
        return video.mask(index)
    return np.where(np.roll(video.mask(index), 5, 1) == 6, 6, 0).astype(np.uint8) if index == 5 else None


def steps(stream, video, length=8, method='step', mirror=False):
    """The results of a video's frames, with the prompts above."""
    results = []
    for index in range(length):
        frame, masks = video.frame(index), prompt(video, index)
        if mirror:
            frame, masks = frame[:, ::-1].copy(), None if masks is None else masks[:, ::-1].copy()
        results.append(getattr(stream, method)(frame, masks))
    return results


def some_video(size, length=8):
    return SquaresVideo(length, size, appear=(0, 3), void=True)


# One variant.


@SIZES
@pytest.mark.parametrize('memory', MEMORIES)
@pytest.mark.parametrize('method', ['step', 'probabilities'])
def test_one_variant_is_the_plain_stream(memory, size, method):
    video = some_video(size)
    merged = steps(model_with(dict(flip=False), memory).new_stream(), video, method=method)
    plain = steps(model_with(None, memory).new_stream(), video, method=method)
    assert all(torch.equal(a, b) for a, b in zip(merged, plain, strict=True))


def test_one_short_side_is_the_plain_stream_at_that_size():
    video = some_video((64, 97))
    merged = steps(model_with(dict(short_sides=[32])).new_stream(), video, method='probabilities')
    plain = steps(model_with(None, short_side=32).new_stream(), video, method='probabilities')
    assert all(torch.equal(a, b) for a, b in zip(merged, plain, strict=True))


def test_a_stream_without_test_time_is_plain():
    assert isinstance(model_with(None).new_stream(), VOSStream)
    assert isinstance(model_with(dict(flip=True)).new_stream(), MergedStream)


@SIZES
def test_the_ids_of_a_step_are_those_of_the_largest_probability(size):
    video, model = some_video(size), model_with(None)
    stream = model.new_stream()
    for ids, probabilities in zip(
        steps(model.new_stream(), video), steps(stream, video, method='probabilities'), strict=True
    ):
        assert probabilities.shape[1:] == size
        torch.testing.assert_close(probabilities.sum(0), torch.ones(size))
        assert torch.equal(stream.ids_of(probabilities), ids)


# Several.


@SIZES
@pytest.mark.parametrize('memory', MEMORIES)
def test_the_mean_of_sizes_and_mirrored_videos(memory, size):
    """Against plain streams of the video and of the mirrored video, run one after the other and averaged
    here."""
    video, model = some_video(size), model_with(FLIP_AND_SIZES, memory)
    merged = steps(model.new_stream(), video, method='probabilities')
    runs = []
    for side in FLIP_AND_SIZES['short_sides']:
        runs.append(steps(VOSStream(model, short_side=side), video, method='probabilities'))
        mirrored = steps(VOSStream(model, short_side=side), video, method='probabilities', mirror=True)
        runs.append([probabilities.flip(2) for probabilities in mirrored])
    for index, (mean, *each) in enumerate(zip(merged, *runs, strict=True)):
        expected = torch.stack(each).mean(0)
        if prompt(video, index) is not None:
            given = read_masks(prompt(video, index), size)
            expected = impose(expected, given, [3, 6][: len(mean) - 1])
        torch.testing.assert_close(mean, expected, rtol=0, atol=1e-6)
        assert index == 0 or not torch.allclose(each[0], each[1], atol=1e-3)  # the variants differ
        assert index == 0 or not torch.allclose(each[0], each[2], atol=1e-3)


@SIZES
def test_ids_are_those_of_the_mean_where_nothing_is_given(size):
    video, model = some_video(size), model_with(FLIP_AND_SIZES)
    stream = model.new_stream()
    means = steps(model.new_stream(), video, method='probabilities')
    changed = 0
    for index, (ids, mean) in enumerate(zip(steps(stream, video), means, strict=True)):
        if prompt(video, index) is None:
            assert torch.equal(
                ids, torch.tensor([0, 3, 6])[mean.argmax(0)] if index > 2 else 3 * mean.argmax(0)
            )
            changed += len(ids.unique()) > 1
    assert changed
    assert stream.object_ids == [3, 6]
    assert stream.index == 8
    assert stream.size == size


@pytest.mark.parametrize('width', [56, 53])
def test_a_symmetric_video_has_symmetric_masks(width):
    """Both variants see the same; without the flip the model, whose weights are not symmetric, does not do
    so."""
    rng = np.random.default_rng(0)
    masks = np.zeros((40, width), np.uint8)
    masks[10:30, 15 : width - 15], masks[2:8, 20 : width - 20] = 1, 9
    frames = []
    for _ in range(6):
        frame = rng.integers(0, 120, (40, width, 3)).astype(np.uint8)
        frame[masks > 0] += 100
        frames.append(np.maximum(frame, frame[:, ::-1]))

    def segment(model):
        stream = model.start(frames[0], masks)
        return [stream.step(frame) for frame in frames[1:]]

    assert all(torch.equal(ids, ids.flip(1)) for ids in segment(model_with(dict(flip=True))))
    assert not all(torch.equal(ids, ids.flip(1)) for ids in segment(model_with(None)))


def test_short_sides_enlarge_and_the_models_own_does_not():
    video = SquaresVideo(2, size=(24, 40))
    stream = model_with(dict(short_sides=(48, 16), flip=True), short_side=8).start(
        video.frame(0), video.mask(0)
    )
    assert stream.variants == [(48, False), (16, False), (48, True), (16, True)]
    assert [own.state.grid for own in stream.streams] == [(3, 5), (1, 2), (3, 5), (1, 2)]
    assert stream.step(video.frame(1)).shape == (24, 40)
    flipped = model_with(dict(flip=True), short_side=48).start(video.frame(0), video.mask(0))
    assert [own.state.grid for own in flipped.streams] == [(2, 3), (2, 3)]


@SIZES
@pytest.mark.parametrize('test_time', [dict(flip=True), FLIP_AND_SIZES, dict(short_sides=[64])], ids=str)
def test_given_masks_are_returned_as_given(test_time, size):
    """To the pixel, also where a variant computes at another size; a corrected object is nowhere else."""
    video = some_video(size)
    results = steps(model_with(test_time).new_stream(), video)
    first = video.mask(0)
    assert (results[0].numpy() == np.where(first == 255, 0, first)).all()
    assert (results[3][torch.from_numpy(video.mask(3) == 6)] == 6).all()
    for index in (3, 5):
        given = prompt(video, index)
        for number in set(np.unique(given).tolist()) - {0, 255}:
            assert ((results[index] == number).numpy() == (given == number)).all()
    assert all(ids.dtype == torch.uint8 and 255 not in ids for ids in results)


def test_arguments_may_be_tensors_views_or_wider_integers():
    video, model = some_video((40, 56)), model_with(dict(flip=True))
    expected = steps(model.new_stream(), video)[1]
    tensors = model.start(torch.from_numpy(video.frame(0)), torch.from_numpy(video.mask(0)).long())
    assert torch.equal(tensors.step(torch.from_numpy(video.frame(1))), expected)
    views = model.start(
        np.ascontiguousarray(video.frame(0)[..., ::-1])[..., ::-1], video.mask(0).astype(np.int64)
    )
    assert torch.equal(views.step(video.frame(1)), expected)


def test_every_variant_draws_with_the_seed():
    model = tiny_model(
        MEMORIES['slots'] | dict(selector=dict(type='RandomSelector')), test_time=dict(flip=True)
    ).eval()
    video = SquaresVideo(12)

    def slots(seed):
        stream = model.start(video.frame(0), video.mask(0), seed=seed)
        for index in range(1, 12):
            stream.step(video.frame(index))
        return [own.state.written_at.tolist() for own in stream.streams]

    runs = [slots(seed) for seed in range(5)]
    assert all(first == second for first, second in runs)
    assert slots(1) == runs[1]
    assert len(set(map(str, runs))) > 1


# What it costs.


def test_bytes_are_those_of_all_variants_and_stay():
    video, model = SquaresVideo(12), model_with(FLIP_AND_SIZES)
    assert model.new_stream().nbytes == model_with(None).new_stream().nbytes == 0
    stream, sizes = model.start(video.frame(0), video.mask(0)), []
    for index in range(1, 30):
        stream.step(video.frame(index % 12))
        sizes.append(stream.nbytes)
    assert set(sizes) == {sum(own.state.nbytes for own in stream.streams)}
    assert len({own.state.nbytes for own in stream.streams}) == 2  # two sizes


def test_nothing_is_kept_of_frames_that_have_passed():
    """All tensors that are alive, not those of the states alone."""
    video, model = SquaresVideo(12), model_with(FLIP_AND_SIZES)
    stream, sizes = model.start(video.frame(0), video.mask(0)), []
    for index in range(1, 25):
        stream.step(video.frame(index % 12))
        if index in (5, 24):
            gc.collect()
            sizes.append(sum(t.nbytes for t in gc.get_objects() if type(t) is torch.Tensor))
    assert sizes[0] == sizes[1] > 0


def test_a_step_does_not_wait_for_the_device():
    video, model = SquaresVideo(3), model_with(FLIP_AND_SIZES)
    stream = model.start(video.frame(0), video.mask(0))
    with NoQuestions():
        for index in (1, 2):
            stream.step(video.frame(index))
    assert stream.index == 3


# In files.


def test_a_saved_stream_goes_on_bit_by_bit(tmp_path):
    video, path = SquaresVideo(8, size=(37, 53), appear=(0, 2, 6)), str(tmp_path / 'stream.safetensors')
    model = model_with(FLIP_AND_SIZES)
    stream = model.start(video.frame(0), video.mask(0), seed=5)
    for index in range(1, 4):
        stream.step(video.frame(index), video.mask(2) if index == 2 else None)
    stream.save(path)
    other = model_with(json.loads(json.dumps(FLIP_AND_SIZES)))  # a list instead of a tuple
    loaded = other.load_stream(path)
    assert (loaded.index, loaded.size, loaded.object_ids, loaded.seed) == (4, (37, 53), [3, 6], 5)
    assert loaded.nbytes == stream.nbytes
    for index in range(4, 8):
        given = video.mask(index) if index == 6 else None
        assert torch.equal(loaded.step(video.frame(index), given), stream.step(video.frame(index), given))


def test_a_plain_stream_of_its_own_size_is_saved_with_it(tmp_path):
    video, model, path = SquaresVideo(4), model_with(None), str(tmp_path / 'stream.safetensors')
    stream = VOSStream(model, short_side=64)
    stream.step(video.frame(0), video.mask(0))
    stream.save(path)
    loaded = VOSStream.load(model, path)
    assert loaded.short_side == 64
    assert torch.equal(loaded.step(video.frame(1)), stream.step(video.frame(1)))


@pytest.mark.parametrize(
    'saved, loaded, message',
    [
        (None, dict(flip=True), r"test_time None, but this one's is \[\{'short_side': None, 'flip': False\}"),
        (dict(flip=True), None, r"test_time \[.*'flip': True\}\], but this one's is None"),
        (
            dict(short_sides=[32]),
            dict(short_sides=[48]),
            r"test_time \[\{'short_side': 32, .*'short_side': 48, ",
        ),
    ],
)
def test_a_stream_of_another_test_time_is_refused(saved, loaded, message, tmp_path):
    video, path = SquaresVideo(2), str(tmp_path / 'stream.safetensors')
    model_with(saved).start(video.frame(0), video.mask(0)).save(path)
    with pytest.raises(ValueError, match=rf"stream.safetensors' is a stream of a model with {message}"):
        model_with(loaded).load_stream(path)


def test_a_stream_that_has_not_begun_cannot_be_saved(tmp_path):
    with pytest.raises(
        ValueError, match=r"nothing to save in '.*x.safetensors': the stream has seen no frame"
    ):
        model_with(dict(flip=True)).new_stream().save(str(tmp_path / 'x.safetensors'))
    assert not list(tmp_path.iterdir())


# Bad input.


@pytest.mark.parametrize(
    'test_time, message',
    [
        ({}, r'test_time must be None or a dict with flip or short_sides, got \{\}'),
        (dict(flip=True, sizes=[480]), "test_time has an unknown key 'sizes': expected flip or short_sides"),
        (dict(flip='yes'), "test_time.flip must be True or False, got 'yes'"),
        (dict(flip=1), 'test_time.flip must be True or False, got 1'),
        *(
            (
                dict(short_sides=sides),
                r'test_time.short_sides must be None or a list of different positive numbers',
            )
            for sides in ([], 480, '480', [0], [480, -1], [480.0], [True], [480, 480], [None])
        ),
    ],
    ids=str,
)
def test_a_wrong_test_time_is_named_when_the_model_is_built(test_time, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(tiny_config(test_time=test_time))


def test_variants():
    assert variants_of(dict(flip=True)) == [(None, False), (None, True)]
    assert variants_of(dict(short_sides=(480, 600))) == [(480, False), (600, False)]
    assert variants_of(dict(flip=True, short_sides=None)) == [(None, False), (None, True)]


def test_a_refused_frame_changes_nothing_in_any_variant():
    video, model = SquaresVideo(4), model_with(FLIP_AND_SIZES)
    good, bad = (model.start(video.frame(0), video.mask(0)) for _ in range(2))
    for frame, mask, error in (
        (video.frame(1)[:20], None, ValueError),
        (video.frame(1).astype(float), None, TypeError),
        (video.frame(1), video.mask(1)[:20], ValueError),
        (video.frame(1), video.mask(1).astype(np.int32) + 300, ValueError),
        (video.frame(1), video.mask(1).astype(float), TypeError),
    ):
        with pytest.raises(error, match='frame 1'):
            bad.step(frame, mask)
    for index in (1, 2):
        assert torch.equal(bad.step(video.frame(index)), good.step(video.frame(index)))


def test_objects_may_be_given_later_and_removed():
    """Every variant begins with the first masks, and ends with the last object."""
    video, stream = SquaresVideo(7, appear=(0, 0)), model_with(FLIP_AND_SIZES).new_stream()
    with pytest.raises(ValueError, match=r'masks of frame 0 hold no object'):
        stream.step(video.frame(0), 0 * video.mask(0))
    assert not stream.step(video.frame(0)).any()
    assert (stream.nbytes, stream.index) == (0, 1)
    stream.step(video.frame(1), video.mask(1))
    assert stream.began == 1
    with pytest.raises(ValueError, match=r'no object 4 in the stream: it has \[3, 6\]'):
        stream.remove([3, 4])
    stream.remove(3)
    assert [own.object_ids for own in stream.streams] == [[6]] * 4
    assert set(stream.step(video.frame(2)).unique().tolist()) <= {0, 6}
    stream.remove([6])
    assert stream.nbytes == 0
    assert (stream.step(video.frame(3), video.mask(3) == 3) == torch.from_numpy(video.mask(3) == 3)).all()
    assert (stream.object_ids, stream.began) == ([1], 3)


# Whole videos.


@pytest.mark.parametrize('memory', MEMORIES)
def test_predict_merges_the_variants(memory):
    video = SquaresVideo(7, size=(41, 58), appear=(1, 3))
    samples = {}
    for name, test_time in dict(plain=None, merged=FLIP_AND_SIZES).items():
        model = model_with(test_time, memory)
        (samples[name],) = model.test_step(dict(inputs=[video], data_samples=[make_sample(video)]))
    merged = np.stack([decode_palette_png(png) for png in samples['merged'].pred_masks])
    assert not merged[0].any()
    assert (merged[1] == video.mask(1)).all()
    stream = model.start(video.frame(1), video.mask(1))
    stamps = [slot_stamps(stream, 1)]
    for index in range(2, 7):
        given = np.where(video.mask(index) == 6, 6, 0) if index == 3 else None
        assert (stream.step(video.frame(index), given).numpy() == merged[index]).all()
        stamps.append(slot_stamps(stream, 1))
    assert samples['merged'].state_bytes == stream.nbytes
    assert samples['merged'].pred_masks != samples['plain'].pred_masks
    if memory == 'slots':
        timeline = samples['merged'].slot_timeline
        assert (timeline[0] == -1).all()
        assert (timeline[1:] == torch.stack(stamps).numpy()).all()
    else:
        assert 'slot_timeline' not in samples['merged']


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Random weights of the smallest config, and the model."""
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(SMALL_VOS).model)
    with torch.no_grad():
        model.decoder.predict.weight.mul_(5)
    path = tmp_path_factory.mktemp('checkpoint') / 'model.pth'
    torch.save(dict(meta={}, state_dict=model.state_dict()), path)
    return path, model.eval()


def test_the_test_tool_merges_by_an_option(checkpoint, tmp_path):
    path, model = checkpoint
    options = ['--cfg-options', 'model.test_time.flip=True', 'model.test_time.short_sides=48,64']
    argv = [
        SMALL_VOS,
        path,
        '--work-dir',
        tmp_path,
        '--out',
        tmp_path / 'metrics.json',
        '--show-dir',
        tmp_path / 'show',
    ]
    assert run_tool('test', [*argv, *options], output=tmp_path / 'output') == 0, (
        tmp_path / 'output'
    ).read_text()
    assert 'DAVIS/J&F' in json.loads((tmp_path / 'metrics.json').read_text())
    video = SyntheticVOSDataset(split='dev', size=(48, 48), num_frames=6, num_videos=3, test_mode=True)[0][
        'inputs'
    ]
    written = [png.read_bytes() for png in sorted((tmp_path / 'show' / video.name).glob('*.png'))]
    predicted = {}
    for name, model.test_time in dict(merged=dict(flip=True, short_sides=[48, 64]), plain=None).items():
        (sample,) = model.predict([video], [make_sample(video)])
        predicted[name] = sample.pred_masks
    assert written == predicted['merged']
    assert written != predicted['plain']


def test_the_test_tool_says_what_is_wrong(checkpoint, tmp_path):
    options = ['--work-dir', tmp_path, '--cfg-options', 'model.test_time.size=480']
    assert run_tool('test', [SMALL_VOS, checkpoint[0], *options], output=tmp_path / 'output') != 0
    assert (
        "test_time has an unknown key 'size': expected flip or short_sides"
        in (tmp_path / 'output').read_text()
    )
