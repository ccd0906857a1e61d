"""The queue of frames and the queue of compressed ones."""

import dataclasses
import math

import pytest
import torch
from helpers.memory_cases import GRID, KEY, POSITIONS, VALUE, join, make_entry, make_query, run

from mmstremn.memory.published.compressive_transformer import MODES, Compression, CompressiveMemory

CONSTANT, TOLERANCE = 3.0, 1e-5


def build(num_slots=2, num_compressed=3, mode='conv'):
    torch.manual_seed(0)
    return CompressiveMemory(num_slots, num_compressed, mode, KEY, VALUE).eval()


def random_build(**kwargs):
    """A compression that is no longer a mean."""
    memory = build(**kwargs)
    for parameter in memory.parameters():
        torch.nn.init.normal_(parameter)
    return memory


def stream(length=10, batch=1, objects=1):
    return [make_entry(i, batch, objects) for i in range(length)], [
        make_query(i, batch) for i in range(length)
    ]


def plain_compression(tensor, grid, mode, weight=None):
    """(P, C) to (P', C), a window at a time; indices beyond the grid are those of its border."""
    (h, w), image, rows = grid, tensor.reshape(*grid, -1), []
    for top in range(0, h, 2):
        for left in range(0, w, 2):
            window = torch.stack(
                [image[min(top + i, h - 1), min(left + j, w - 1)] for i in (0, 1) for j in (0, 1)]
            )
            if mode == 'conv':
                rows.append(torch.einsum('oin,ni->o', weight.flatten(2), window))
            else:
                rows.append(window.mean(0) if mode == 'mean' else window.amax(0))
    return torch.stack(rows)


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('grid', [(1, 1), (1, 4), (3, 4), (4, 6), (5, 3)])
def test_compression_written_plainly(mode, grid):
    compress = Compression(3, mode).double()
    for parameter in compress.parameters():
        torch.nn.init.normal_(parameter)
    tensor = torch.randn(2, 3, grid[0] * grid[1], 3, dtype=torch.float64)
    out = compress(tensor, grid)
    assert out.shape == (2, 3, math.ceil(grid[0] / 2) * math.ceil(grid[1] / 2), 3)
    for b in range(2):
        for k in range(3):
            expected = plain_compression(
                tensor[b, k], grid, mode, compress.conv.weight if mode == 'conv' else None
            )
            torch.testing.assert_close(out[b, k], expected)


def test_the_learned_compression_begins_as_the_mean():
    tensor = torch.randn(1, 2, 15, 3)
    torch.testing.assert_close(Compression(3)(tensor, (3, 5)), Compression(3, 'mean')(tensor, (3, 5)))


def test_zero_values_stay_zero():
    """Of objects that pad a batch."""
    compress = Compression(3)
    torch.nn.init.normal_(compress.conv.weight)
    assert (compress(torch.zeros(1, 1, 4, 3), GRID) == 0).all()


@pytest.mark.parametrize('mode', MODES)
def test_a_read_written_plainly(mode):
    """All frames of both queues, each position once, in float64."""
    memory, (entries, queries) = random_build(mode=mode), stream(12, 2, 2)
    weights = {
        m: getattr(m, 'conv', None) and m.conv.weight.double()
        for m in (memory.compress_key, memory.compress_value)
    }
    with torch.no_grad():
        _, readouts = run(memory, entries, queries)
        for step, readout in enumerate(readouts, 1):
            whole = range(max(step - 2, 0), step)
            small = range(max(step - 5, 0), max(step - 2, 0))
            for b in range(2):
                keys = [entries[t].key[b, 0].double() for t in whole]
                for t in small:
                    old = entries[t].key[b, 0].double()
                    keys.append(plain_compression(old, GRID, mode, weights[memory.compress_key]))
                affinity = -torch.cdist(queries[step].key[b].double(), torch.cat(keys)).square() / math.sqrt(
                    KEY
                )
                for o in range(2):
                    values = [entries[t].value[b, o].double() for t in whole]
                    for t in small:
                        old = entries[t].value[b, o].double()
                        values.append(plain_compression(old, GRID, mode, weights[memory.compress_value]))
                    expected = affinity.softmax(-1) @ torch.cat(values)
                    torch.testing.assert_close(readout[b, o].double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize('length', [1, 2, 3, 5, 6, 11])
def test_frames_pass_from_one_queue_to_the_other(length):
    """Of 2 whole and 3 compressed frames."""
    memory, (entries, _) = build(), stream(length)
    with torch.no_grad():
        state, _ = run(memory, entries)
    whole, small = state.frames().split([2 * POSITIONS, 3])
    whole = whole.view(2, POSITIONS)[:, 0]
    assert sorted(t for t in whole.tolist() if t >= 0) == list(range(max(length - 2, 0), length))
    assert sorted(t for t in small.tolist() if t >= 0) == list(range(max(length - 5, 0), max(length - 2, 0)))
    for slot, t in enumerate(whole.tolist()):
        assert torch.equal(
            state.value[:, :, slot], entries[t].value if t >= 0 else torch.zeros(1, 1, POSITIONS, VALUE)
        )
    for slot, t in enumerate(small.tolist()):
        expected = entries[t].value.mean(2, keepdim=True) if t >= 0 else torch.zeros(1, 1, 1, VALUE)
        torch.testing.assert_close(state.small_value[:, :, slot], expected)


def test_what_left_both_queues_is_forgotten_and_what_is_compressed_is_not():
    memory, (entries, _) = build(), stream(9)

    def readout(changed):
        other = [
            dataclasses.replace(e, value=e.value + 5) if i == changed else e for i, e in enumerate(entries)
        ]
        with torch.no_grad():
            return memory.read(run(memory, other)[0], make_query())[0]

    same = readout(None)
    assert [bool((readout(t) - same).abs().max() > 1e-3) for t in range(9)] == [False] * 4 + [True] * 5


def test_gradients_reach_every_parameter_in_a_clip_of_six():
    entries, queries = stream(6)
    memory = CompressiveMemory(key_channels=KEY, value_channels=VALUE).train()
    _, readouts = run(memory, entries, queries)
    torch.stack(readouts).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in memory.parameters())
    assert len(list(memory.parameters())) == 2


def test_a_compression_that_no_frame_reaches_is_named():
    memory, (entries, _) = build(num_slots=2), stream(4)
    for length in range(1, 5):
        state, _ = run(memory, entries[:length])
        expected = (
            {} if length > 2 else dict(compression=f'{length} frames written, 2 slots, none compressed')
        )
        assert memory.untrained_parts(state) == expected
        assert build(num_slots=2, mode='mean').untrained_parts(state) == {}


def test_the_defaults_hold_as_many_positions_as_five_frames():
    memory = CompressiveMemory()
    assert memory.num_slots + memory.num_compressed / 4 == 5
    assert (memory.compress_key.conv.in_channels, memory.compress_value.conv.in_channels) == (64, 256)


def test_nonsense_is_refused():
    for name in ('num_slots', 'num_compressed'):
        with pytest.raises(ValueError, match=rf'CompressiveMemory\.{name} must be at least 1, got 0'):
            CompressiveMemory(**{name: 0})
    with pytest.raises(ValueError, match=r"CompressiveMemory\.mode must be one of .*, got 'median'"):
        CompressiveMemory(mode='median')


def test_a_constant_value_of_a_new_object_is_read_as_it_is():
    """Older places, which know nothing of it, do not dilute it."""
    entries, queries = stream(objects=2)
    for entry in entries:
        entry.value[:, 1] = CONSTANT
    readouts, _ = join(build(), entries, queries, 4)
    torch.testing.assert_close(
        readouts[:, :, 1], torch.full_like(readouts[:, :, 1], CONSTANT), rtol=0, atol=TOLERANCE
    )


def test_a_state_holds_the_seeds_of_its_samples():
    assert build().init(make_entry(0, batch=2), seeds=(3, 7)).seeds == (3, 7)
