"""The global context: its formula, what it keeps and what it loses."""

import torch
from helpers.memory_cases import KEY, POSITIONS, VALUE, assert_close, clip, make_entry, run

from mmstremn.memory import Query
from mmstremn.memory.published.global_context import GlobalContextMemory


def test_the_size_does_not_depend_on_the_frame():
    wide = make_entry()
    wide.key, wide.value = wide.key.repeat(1, 1, 9, 1), wide.value.repeat(1, 1, 9, 1)
    memory = GlobalContextMemory()
    assert memory.init(wide).nbytes == memory.init(make_entry()).nbytes


def test_formula():
    """Written out with loops, in float64."""
    entries, queries = clip(6, batch=2, objects=2)
    with torch.no_grad():
        _, readouts = run(GlobalContextMemory(), entries, queries)
    for b in range(2):
        for o in range(2):
            context = torch.zeros(KEY, VALUE, dtype=torch.float64)
            for entry in entries[:5]:
                key, value = entry.key[b, 0].double(), entry.value[b, o].double()
                for c in range(KEY):
                    weights = key[:, c].exp() / key[:, c].exp().sum()
                    for p in range(POSITIONS):
                        context[c] += weights[p] * value[p] / 5
            query = queries[5].key[b].double()
            for p in range(POSITIONS):
                weights = query[p].exp() / query[p].exp().sum()
                assert_close(readouts[-1][b, o, p].double(), sum(weights[c] * context[c] for c in range(KEY)))


def test_what_is_constant_is_read_back():
    """A readout is a convex combination of values."""
    entries, queries = clip(5)
    for entry in entries:
        entry.value.fill_(3.0)
    _, readouts = run(GlobalContextMemory(), entries, queries)
    assert_close(torch.stack(readouts), torch.full_like(torch.stack(readouts), 3.0))


def test_a_channel_is_an_address():
    """What one key channel marks is found by queries of that channel; the order of frames does not matter."""
    entries, _ = clip(2)
    for entry, channel in zip(entries, (0, 2), strict=True):
        entry.key.zero_()
        entry.key[:, :, 1, channel] = 50.0  # the second position
    query = torch.zeros(1, POSITIONS, KEY)
    query[..., 0] = 50.0
    memory = GlobalContextMemory()
    with torch.no_grad():
        forth, back = (memory.read(run(memory, e)[0], Query(query))[0] for e in (entries, entries[::-1]))
    assert_close(forth, back)
    expected = (entries[0].value[:, :, 1] + entries[1].value.mean(2)) / 2
    assert_close(forth, expected[:, :, None].expand_as(forth))


def test_extreme_keys_stay_finite():
    entries, queries = clip(3)
    for entry, query in zip(entries, queries, strict=True):
        entry.key.mul_(1e4)
        query.key.mul_(1e4)
    _, readouts = run(GlobalContextMemory(), entries, queries)
    assert torch.stack(readouts).isfinite().all()
