"""Streaming: new objects and corrections at any frame, and what is said about bad input."""

import numpy as np
import pytest
import torch
from helpers.vos_cases import SquaresVideo, tiny_model

from mmstremn.models import GivenMasks, aggregate
from mmstremn.models.segmentation.stream import VOSStream

SLOTS = dict(type='SlotMemory', num_slots=3)
MEMORIES = {
    'slots': SLOTS,
    'own keys': SLOTS | dict(per_object_key=True),
    'stcn': dict(type='GrowingMemory'),
    'stm': dict(type='GrowingMemory', keep_last=True, per_object_key=True),
}


@pytest.fixture(scope='module')
def model():
    return tiny_model(SLOTS).eval()


@pytest.fixture
def video():
    return SquaresVideo(12, size=(40, 56))


def rectangle(size, number, top, left, height=10, width=12, dtype=np.uint8):
    mask = np.zeros(size, dtype)
    mask[top : top + height, left : left + width] = number
    return mask


def ids(prediction):
    return set(prediction.unique().tolist())


# Objects.


@pytest.mark.parametrize('memory', MEMORIES.values(), ids=MEMORIES.keys())
def test_new_objects_may_be_given_at_any_frame(memory, video):
    model = tiny_model(memory).eval()
    stream = model.start(video.frame(0), rectangle(video.size, 7, 2, 2))
    given = {3: 2, 4: 200, 7: 9}
    known = {0, 7}
    for index in range(1, 10):
        mask = rectangle(video.size, given[index], 25, 4 * index) if index in given else None
        prediction = stream.step(video.frame(index), mask)
        if index in given:
            known.add(given[index])
            assert (prediction[torch.from_numpy(mask > 0)] == given[index]).all()
        assert ids(prediction) <= known
        assert prediction.dtype == torch.uint8
        assert prediction.shape == video.size
    assert stream.object_ids == [7, 2, 200, 9]
    assert stream.state.births == (0, 3, 4, 7)
    assert stream.index == stream.state.step == 10


def test_several_new_objects_at_once(model, video):
    stream = model.start(video.frame(0), rectangle(video.size, 1, 2, 2))
    masks = rectangle(video.size, 5, 20, 2) + rectangle(video.size, 4, 20, 30)
    prediction = stream.step(video.frame(1), masks)
    assert stream.object_ids == [1, 4, 5]
    for number in (4, 5):
        assert (prediction[torch.from_numpy(masks == number)] == number).all()


def test_a_new_object_leaves_the_others_alone(model, video):
    def stream(mask):
        stream = model.start(video.frame(0), rectangle(video.size, 1, 2, 2))
        stream.step(video.frame(1))
        return stream.step(video.frame(2), mask)

    plain, mask = stream(None), rectangle(video.size, 2, 28, 40)
    with_object = stream(mask)
    outside = torch.from_numpy(mask == 0)
    assert torch.equal(with_object[outside], plain[outside])


def test_an_object_may_be_corrected(model, video):
    first = rectangle(video.size, 1, 2, 2) + rectangle(video.size, 2, 20, 2)
    streams = [model.start(video.frame(0), first) for _ in range(2)]
    plain = [streams[0].step(video.frame(i)) for i in (1, 2, 3)]
    correction = rectangle(video.size, 2, 20, 20)
    streams[1].step(video.frame(1))
    corrected = [streams[1].step(video.frame(2), correction), streams[1].step(video.frame(3))]
    inside = torch.from_numpy(correction == 2)
    assert torch.equal(corrected[0] == 2, inside)  # the object is where the user says, and nowhere else
    assert not torch.equal(plain[1] == 2, inside)
    untouched = ~inside & (plain[1] != 2)
    assert torch.equal(corrected[0][untouched], plain[1][untouched])
    assert not torch.equal(corrected[1], plain[2])  # it is remembered
    assert streams[1].object_ids == [1, 2]
    assert streams[1].state.births == (0, 0)


def test_a_correction_replaces_a_prediction_where_it_speaks():
    """On four pixels: predicted background, 1, 2, 2; the user says that object 2 is on the second and nowhere
    else."""
    predicted = aggregate(torch.tensor([[0.1, 0.9, 0.1, 0.1], [0.1, 0.1, 0.9, 0.8]]).view(1, 2, 1, 4))
    masks = torch.tensor([[False] * 4, [False, True, False, False]]).view(1, 2, 1, 4)
    logits = GivenMasks(masks, [1]).replace(predicted)
    assert logits.argmax(1).flatten().tolist() == [0, 2, 0, 0]
    assert torch.equal(logits[..., 0], predicted[..., 0])
    assert GivenMasks(masks).replace(predicted).argmax(1).flatten().tolist() == [0, 2, 0, 0]


@pytest.mark.parametrize('nothing', [0, 255])
def test_masks_without_an_object_are_refused(model, video, nothing):
    """At any frame: they could mean that nothing is annotated, seen or to be followed."""
    mask = np.full(video.size, nothing, np.uint8)
    stream, other = VOSStream(model), VOSStream(model)
    with pytest.raises(ValueError, match=r'masks of frame 0 hold no object \(an id in 1..254\): give None'):
        stream.step(video.frame(0), mask)
    for one in (stream, other):
        one.step(video.frame(0), video.mask(0))
    with pytest.raises(ValueError, match=r'masks of frame 1 hold no object .* remove\(ids\) ends objects'):
        stream.step(video.frame(1), mask)
    assert torch.equal(stream.step(video.frame(1)), other.step(video.frame(1)))


def test_an_object_may_be_said_to_be_absent(video):
    """By a bool mask or planes without a pixel of it: it is known and may come back; the others stay."""
    model = tiny_model(SLOTS, seed=1).eval()
    two = rectangle(video.size, 1, 2, 2) + rectangle(video.size, 2, 20, 2)
    background = two != 1
    for first, nowhere in (
        (video.mask(0), np.zeros(video.size, bool)),
        (video.mask(0), np.zeros(video.size, np.float32)),
        (two, np.stack([background, ~background, two > 2])),
    ):
        stream, plain = (model.start(video.frame(0), first) for _ in range(2))
        ids, expected = stream.step(video.frame(1), nowhere), plain.step(video.frame(1))
        absent = stream.object_ids[-1]
        assert absent in expected
        assert absent not in ids
        assert stream.object_ids == plain.object_ids
        assert not torch.equal(stream.step(video.frame(2)), plain.step(video.frame(2)))  # it is remembered


def test_masks_of_one_object_correct_the_only_one(model, video):
    correction = rectangle(video.size, 1, 22, 30)
    results = []
    for mask in (
        9 * correction,
        255 * correction,
        correction > 0,
        torch.from_numpy(correction > 0),
        0.8 * correction,
        np.stack([1 - correction, correction]),
        torch.from_numpy(np.stack([1 - correction, correction])).half(),
    ):
        stream = model.start(video.frame(0), rectangle(video.size, 9, 4, 4))
        results.append([stream.step(video.frame(1), mask), stream.step(video.frame(2))])
        assert (results[-1][0] == torch.from_numpy(9 * correction)).all()
        assert stream.object_ids == [9]
    assert all(torch.equal(a, b) for result in results for a, b in zip(result, results[0], strict=True))
    two = model.start(video.frame(0), rectangle(video.size, 9, 4, 4) + rectangle(video.size, 3, 20, 4))
    for mask in (255 * correction, correction > 0, 0.8 * correction):
        with pytest.raises(
            ValueError, match=r'masks of frame 1.* one object, but there are several \[3, 9\]'
        ):
            two.step(video.frame(1), mask)


@pytest.mark.parametrize('memory', MEMORIES.values(), ids=MEMORIES.keys())
def test_a_stream_may_begin_without_an_object(memory, video):
    """It goes on as one that begins with the first masks."""
    model = tiny_model(memory).eval()
    late, direct = VOSStream(model), VOSStream(model)
    for index in range(2):
        assert not late.step(video.frame(index)).any()
    assert late.state is None
    assert (VOSStream(model).probabilities(video.frame(0)) == torch.ones(1, *video.size)).all()
    for index in range(2, 6):
        mask = rectangle(video.size, 3, 2, 2) if index == 2 else None
        assert torch.equal(late.step(video.frame(index), mask), direct.step(video.frame(index), mask))
    assert (late.index, late.began, direct.began) == (6, 2, 0)
    assert late.object_ids == [3]


def test_void_in_the_first_mask_is_no_object(model, video):
    mask = video.mask(0)
    mask[:, -1] = 255
    stream = model.start(video.frame(0), mask)
    assert stream.object_ids == [3]
    assert 255 not in ids(stream.step(video.frame(1)))


def test_streams_do_not_influence_each_other(model):
    videos = [SquaresVideo(6, seed=s) for s in range(2)]
    alone = []
    for video in videos:
        stream = model.start(video.frame(0), video.mask(0))
        alone.append([stream.step(video.frame(i)) for i in range(1, 6)])
    streams = [model.start(video.frame(0), video.mask(0)) for video in videos]
    for index in range(1, 6):
        for stream, video, expected in zip(streams, videos, alone, strict=True):
            assert torch.equal(stream.step(video.frame(index)), expected[index - 1])


def test_a_stream_is_a_function_of_its_seed(video):
    model = tiny_model(SLOTS | dict(num_slots=2, selector=dict(type='RandomSelector'))).eval()

    def slots(seed):
        stream = model.start(video.frame(0), video.mask(0), seed=seed)
        for index in range(1, 12):
            stream.step(video.frame(index))
        return stream.state.written_at.tolist()

    assert slots(1) == slots(1)
    assert len({str(slots(seed)) for seed in range(6)}) > 1


def test_arguments_may_be_tensors_views_or_wider_integers(model, video):
    expected = model.start(video.frame(0), video.mask(0)).step(video.frame(1))
    tensors = model.start(torch.from_numpy(video.frame(0)), torch.from_numpy(video.mask(0)).long())
    assert torch.equal(tensors.step(torch.from_numpy(video.frame(1))), expected)
    bgr = [np.ascontiguousarray(video.frame(i)[..., ::-1]) for i in range(2)]  # as OpenCV decodes it
    views = model.start(bgr[0][..., ::-1], video.mask(0).astype(np.int64))
    assert torch.equal(views.step(bgr[1][..., ::-1]), expected)


def test_frames_and_masks_are_not_changed(model, video):
    frame, mask = video.frame(0), video.mask(0)
    frame_copy, mask_copy = frame.copy(), mask.copy()
    stream = model.start(frame, mask)
    stream.step(frame, mask)
    assert (frame == frame_copy).all()
    assert (mask == mask_copy).all()


def test_streaming_keeps_no_graph_and_leaves_evaluation_on(video):
    model = tiny_model(SLOTS).train()
    stream = model.start(video.frame(0), video.mask(0))
    stream.step(video.frame(1))
    assert not model.training
    assert not any(tensor.requires_grad for tensor in stream.state.tensors().values())


def test_the_size_of_a_stream_stays(model, video):
    stream, sizes = model.start(video.frame(0), video.mask(0)), []
    for index in range(1, 40):
        stream.step(video.frame(index % 12))
        sizes.append(stream.state.nbytes)
    assert len(set(sizes)) == 1


def test_small_frames_work(model):
    frame = np.zeros((5, 7, 3), np.uint8)
    stream = model.start(frame, rectangle((5, 7), 1, 1, 1, 2, 2))
    assert stream.step(frame).shape == (5, 7)


# Bad input.


def test_a_model_holds_no_stream(video):
    """What runs is in the stream alone: two streams of one model do not meet."""
    model = tiny_model(SLOTS).eval()
    before = set(vars(model))
    one, other = (model.start(video.frame(index), video.mask(index)) for index in (0, 2))
    alone = tiny_model(SLOTS).eval().start(video.frame(0), video.mask(0)).step(video.frame(1))
    other.step(video.frame(3))
    assert torch.equal(one.step(video.frame(1)), alone)
    assert set(vars(model)) == before and not hasattr(model, 'step')


@pytest.mark.parametrize('dtype', [np.float32, np.int64, bool])
def test_frames_must_be_uint8(model, video, dtype):
    with pytest.raises(TypeError, match=r'frame 0 must be uint8 RGB in 0\.\.255, got'):
        model.start(video.frame(0).astype(dtype), video.mask(0))


def test_frames_with_nan_are_no_uint8(model, video):
    frame = video.frame(1).astype(np.float64)
    frame[0, 0] = np.nan
    stream = model.start(video.frame(0), video.mask(0))
    with pytest.raises(TypeError, match=r'frame 1 must be uint8 RGB in 0\.\.255, got torch.float64'):
        stream.step(frame)


@pytest.mark.parametrize('shape', [(40, 56), (3, 40, 56), (40, 56, 4), (1, 40, 56, 3)])
def test_frames_must_have_three_channels_last(model, video, shape):
    with pytest.raises(ValueError, match=r'frame 0 must be \(H, W, 3\), got'):
        model.start(np.zeros(shape, np.uint8), video.mask(0))


def test_frames_must_keep_their_size(model, video):
    stream = model.start(video.frame(0), video.mask(0))
    with pytest.raises(ValueError, match=r'frame 1 is \(30, 56\), but the stream began with \(40, 56\)'):
        stream.step(video.frame(1)[:30])


def test_masks_must_have_the_size_of_the_frame(model, video):
    with pytest.raises(
        ValueError, match=r'masks of frame 0 are \(40, 55\), expected the size of the frame \(40, 56\)'
    ):
        model.start(video.frame(0), video.mask(0)[:, 1:])


@pytest.mark.parametrize(
    'masks',
    [np.full((40, 56), 3.0), 'masks.png', [['1']], {}, object()],
    ids=lambda value: type(value).__name__,
)
def test_masks_must_be_numbers(model, video, masks):
    with pytest.raises(TypeError, match='masks of frame 0 must be integer ids'):
        model.start(video.frame(0), masks)


@pytest.mark.parametrize('frame', [None, 'frame.png', [], {}, np.zeros((0, 4, 3), np.uint8)], ids=str)
def test_frames_must_be_pictures(model, video, frame):
    with pytest.raises((TypeError, ValueError), match='frame 0 must be'):
        model.start(frame, video.mask(0))


@pytest.mark.parametrize('number', [-1, 256, 70000])
def test_masks_must_hold_ids(model, video, number):
    with pytest.raises(ValueError, match=r'masks of frame 0 hold ids outside 0..254'):
        model.start(video.frame(0), rectangle(video.size, number, 0, 0, dtype=np.int32))


def test_a_refused_frame_changes_nothing(model, video):
    """The stream goes on with the right frame as if nothing had happened."""
    good, bad = (model.start(video.frame(0), video.mask(0)) for _ in range(2))
    for frame, mask, error in (
        (video.frame(1)[:20], None, ValueError),
        (video.frame(1).astype(float), None, TypeError),
        (video.frame(1), video.mask(1)[:20], ValueError),
        (video.frame(1), rectangle(video.size, 300, 0, 0, dtype=np.int32), ValueError),
    ):
        with pytest.raises(error):
            bad.step(frame, mask)
    for index in (1, 2):
        assert torch.equal(bad.step(video.frame(index)), good.step(video.frame(index)))
    assert bad.object_ids == good.object_ids


def test_a_refused_first_frame_leaves_a_stream_to_begin(model, video):
    stream = VOSStream(model)
    with pytest.raises(ValueError, match='expected the size of the frame'):
        stream.step(video.frame(0)[:20], video.mask(0))
    stream.step(video.frame(0), video.mask(0))
    assert stream.size == video.size


def test_a_stream_that_has_not_begun_cannot_be_saved(model, tmp_path):
    with pytest.raises(
        ValueError, match=r"nothing to save in '.*x.safetensors': the stream has seen no frame"
    ):
        VOSStream(model).save(str(tmp_path / 'x.safetensors'))


def test_arguments_of_a_wrong_type_are_named(model, video, tmp_path):
    stream = model.start(video.frame(0), video.mask(0))
    with pytest.raises(TypeError, match=r'frame 0 must be uint8 RGB .*NoneType'):
        model.start(None)
    for ids in ('3', None, 3.0, ['3']):
        with pytest.raises(TypeError, match='remove: expected an integer id or several'):
            stream.remove(ids)
    assert stream.object_ids == [3]
    with pytest.raises(IsADirectoryError, match='is a folder'):
        stream.save(tmp_path)
    for call in (stream.save, model.load_stream):
        with pytest.raises(TypeError, match='expected a string or a path, got None'):
            call(None)
    stream.save(tmp_path / 'a.safetensors')
    assert model.load_stream(tmp_path / 'a.safetensors').object_ids == [3]
