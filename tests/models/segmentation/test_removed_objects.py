"""Objects that end: the memory forgets them, their ids are free, and hundreds may come and go."""

import numpy as np
import pytest
import torch
from helpers.vos_cases import SquaresVideo, tiny_model

from mmstremn.models import VOSStream

SLOTS = dict(type='SlotMemory', num_slots=3)
MEMORIES = {
    'slots': SLOTS,
    'own keys': SLOTS | dict(per_object_key=True),
    'stcn': dict(type='GrowingMemory'),
    'xmem': dict(type='TwoLevelMemory', capacity=512),
    'egm': dict(type='GraphMemory'),
    'convlstm': dict(type='ConvLSTMMemory', hidden_channels=8, kernel=3),
}


@pytest.fixture(scope='module')
def model():
    return tiny_model(SLOTS).eval()


@pytest.fixture
def video():
    return SquaresVideo(12, size=(40, 56))


def rectangle(size, number, top, left, height=10, width=12):
    mask = np.zeros(size, np.uint8)
    mask[top : top + height, left : left + width] = number
    return mask


def ids(prediction):
    return set(prediction.unique().tolist())


@pytest.mark.parametrize('memory', MEMORIES.values(), ids=MEMORIES.keys())
def test_removed_objects_are_forgotten(memory, video):
    """What is left goes on; the memory is as small as without them."""
    model = tiny_model(memory).eval()
    three = sum(rectangle(video.size, number, 2 + 13 * k, 2) for k, number in enumerate((7, 8, 9)))
    stream, two = model.start(video.frame(0), three), model.start(video.frame(0), three * (three != 8))
    stream.remove(8)
    assert stream.object_ids == [7, 9]
    assert stream.nbytes == two.nbytes
    for index in range(1, 8):
        assert ids(stream.step(video.frame(index))) <= {0, 7, 9}
        two.step(video.frame(index))
    assert stream.nbytes == two.nbytes
    stream.step(video.frame(8), rectangle(video.size, 8, 20, 20))  # the id is free again
    assert stream.object_ids == [7, 9, 8]
    stream.remove(np.array([7, 9, 8, 8]))
    assert (stream.object_ids, stream.nbytes) == ([], 0)
    assert not stream.step(video.frame(9)).any()
    assert (stream.step(video.frame(10), rectangle(video.size, 7, 3, 3)) == 7).sum() == 120


@pytest.mark.parametrize('memory', MEMORIES.values(), ids=MEMORIES.keys())
def test_objects_come_and_go(memory):
    """The memory stays as it is with as many objects as there are at a time; every id serves many times.

    ``tests/campaign/test_many_objects.py`` does it with 500 of them."""
    model, frame, sizes = tiny_model(memory).eval(), np.zeros((16, 16, 3), np.uint8), []
    stream = VOSStream(model)
    for number in range(40):
        if number > 2:
            stream.remove(1 + (number - 3) % 7)
        stream.step(frame, rectangle((16, 16), 1 + number % 7, number % 10, 4))
        assert len(stream.object_ids) == min(3, number + 1)
        sizes.append(stream.nbytes)
    if memory['type'] in ('SlotMemory', 'TwoLevelMemory'):
        assert sizes[-1] == sizes[2]
    if model.memory.bounded:
        assert sizes[-1] <= 2 * sizes[2]
    assert all(tensor.isfinite().all() for tensor in stream.state.tensors().values())


@pytest.mark.parametrize('memory', MEMORIES.values(), ids=MEMORIES.keys())
def test_a_stream_goes_on_from_its_file_after_a_removal(memory, video, tmp_path):
    path, model = str(tmp_path / 'stream.safetensors'), tiny_model(memory).eval()
    stream = model.start(video.frame(0), rectangle(video.size, 5, 2, 2))
    for index in (1, 2):
        stream.step(video.frame(index), rectangle(video.size, index, 20, 10 * index))
    stream.remove([5, 2])
    stream.step(video.frame(3), rectangle(video.size, 5, 8, 8))
    stream.save(path)
    loaded = model.load_stream(path)
    assert loaded.object_ids == [1, 5]
    for index in (4, 5):
        assert torch.equal(loaded.step(video.frame(index)), stream.step(video.frame(index)))


@pytest.mark.parametrize(
    'wrong, error',
    [(4, ValueError), ([3, 4], ValueError), ('3', TypeError), (3.0, TypeError), (0, ValueError)],
)
def test_only_known_objects_can_be_removed(model, video, wrong, error):
    stream, other = (model.start(video.frame(0), video.mask(0)) for _ in range(2))
    with pytest.raises(error):
        stream.remove(wrong)
    stream.remove([])
    assert torch.equal(stream.step(video.frame(1)), other.step(video.frame(1)))
