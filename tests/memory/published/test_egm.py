"""The graph memory: which frames are nodes, and what passes between them."""

import itertools

import pytest
import torch
from helpers.memory_cases import KEY, VALUE, assert_close, clip, make_entry, make_query, run

from mmstremn.memory import Query
from mmstremn.memory.published.egm import GraphMemory, spread


def build(num_nodes=6, steps=3) -> GraphMemory:
    torch.manual_seed(0)
    return GraphMemory(num_nodes, steps, KEY, VALUE).eval()


def history(num_nodes, length):
    """The frames that are nodes after each frame."""
    memory, steps = build(num_nodes), []
    with torch.no_grad():
        state = memory.init(make_entry())
        for index in range(length):
            state = memory.write(state, make_entry(index))
            steps.append(sorted(frame for frame in state.frames if frame >= 0))
    return steps


def test_nodes_are_the_first_the_last_and_frames_between():
    steps = history(6, 40)
    assert steps[:6] == [list(range(t + 1)) for t in range(6)]
    assert steps[6] == [0, 1, 2, 3, 4, 6]
    assert steps[7] == [0, 2, 3, 4, 6, 7]  # 6 is no longer the last: it takes the place of 1
    assert steps[9] == [0, 2, 4, 6, 8, 9]
    assert steps[17] == [0, 4, 8, 12, 16, 17]
    assert all(frames[0] == 0 and frames[-1] == t for t, frames in enumerate(steps))
    assert all(len(frames) == min(t + 1, 6) for t, frames in enumerate(steps))


@pytest.mark.parametrize('num_nodes', [3, 4, 5, 6, 9])
def test_the_frames_between_stay_spread(num_nodes):
    """No gap is longer than twice the past divided by the number of nodes between."""
    for t, frames in enumerate(history(num_nodes, 150)):
        gaps = [after - before for before, after in itertools.pairwise(frames)]
        assert max(gaps, default=0) <= max(1, 2 * t / (num_nodes - 2)), (t, frames)


def test_two_nodes_are_the_first_and_the_last():
    assert history(2, 9)[1:] == [[0, t] for t in range(1, 9)]


def test_spread():
    assert spread([], 1, 1) == (None, 1)
    assert spread([1, 2, -1, -1], 1, 3) == (2, 1)
    assert spread([1, 2, 3, 4], 1, 5) == (None, 2)
    assert spread([1, 2, 3, 4], 2, 6) == (0, 2)
    assert spread([6, 2, 3, 4], 2, 7) == (None, 2)
    assert spread([6, 2, 3, 4], 2, 8) == (2, 2)


def test_a_node_holds_its_frame():
    with torch.no_grad():
        state, _ = run(build(), [make_entry(i, objects=2) for i in range(30)])
    assert len(set(state.frames)) == 6
    for slot, frame in enumerate(state.frames):
        assert torch.equal(state.key[:, :, slot], make_entry(frame, objects=2).key)
        assert torch.equal(state.value[:, :, slot], make_entry(frame, objects=2).value)


def test_formula():
    """Message passing node by node, edge by edge, in float64."""
    memory, (entries, queries) = build(), clip(4, objects=2)
    with torch.no_grad():
        state, _ = run(memory, entries)
        readout, _ = memory.read(state, queries[0])
        exact = build().double()
        for one in range(2):
            query = queries[0].key[0].double()
            keys = [entry.key[0, 0].double() for entry in entries]
            states = [entry.value[0, one].double() for entry in entries]

            def gru(cell, message, old):
                update, reset = cell.gates(torch.cat([message, old], -1)).sigmoid().split(VALUE, -1)
                return (1 - update) * old + update * cell.candidate(
                    torch.cat([message, reset * old], -1)
                ).tanh()

            def summary(keys, states, query):
                distances = (query[:, None] - torch.cat(keys)[None]).square().sum(-1)
                return (-distances / KEY**0.5).softmax(-1) @ torch.cat(states)

            answer = summary(keys, states, query)
            for _ in range(3):
                everyone, updated = [*zip(keys, states, strict=True), (query, answer)], []
                for x, (key, old) in enumerate(zip(keys, states, strict=True)):
                    edges = [
                        (key @ exact.edge(other).T / KEY**0.5).softmax(-1) @ sent
                        for y, (other, sent) in enumerate(everyone)
                        if y != x
                    ]
                    updated.append(gru(exact.update_node, exact.fuse(sum(edges)), old))
                states = updated
                answer = gru(exact.update_query, summary(keys, states, query), answer)
            assert_close(readout[0, one].double(), answer)


def plain_read(memory):
    """The memory without messages: the query's GRU keeps its first readout."""
    torch.nn.init.constant_(memory.update_query.gates.bias, -100.0)
    torch.nn.init.zeros_(memory.update_query.gates.weight)
    return memory


def test_without_updates_it_is_dense_attention():
    entries, queries = clip(5)
    with torch.no_grad():
        state, _ = run(build(), entries)
        readout, _ = plain_read(build()).read(state, queries[4])
    key, value = torch.cat([e.key[0, 0] for e in entries]), torch.cat([e.value[0, 0] for e in entries])
    distances = (queries[4].key[0][:, None] - key).square().sum(-1)
    assert_close(readout[0, 0], (-distances / KEY**0.5).softmax(-1) @ value)


def test_nodes_exchange_messages():
    """A node that the query itself does not look at changes the answer, through the other nodes only."""
    entries = [make_entry(i) for i in range(2)]
    entries[1].key += 100.0  # far from the query: no direct attention
    query = Query(entries[0].key[:, 0])

    def answer(memory, value):
        entries[1].value.fill_(value)
        with torch.no_grad():
            return memory.read(run(memory, entries)[0], query)[0]

    plain = plain_read(build())
    assert_close(answer(plain, 1.0), answer(plain, -1.0))
    assert (answer(build(steps=1), 1.0) - answer(build(steps=1), -1.0)).abs().max() > 1e-3


def test_more_steps_change_the_answer():
    entries, queries = clip(4)
    with torch.no_grad():
        state, _ = run(build(), entries)
        answers = [build(steps=steps).read(state, queries[0])[0] for steps in (1, 2, 3)]
    assert (answers[0] - answers[1]).abs().max() > 1e-3
    assert (answers[1] - answers[2]).abs().max() > 1e-3


def test_a_read_leaves_the_nodes_alone():
    memory, entries = build(), [make_entry(i) for i in range(4)]
    with torch.no_grad():
        state, _ = run(memory, entries)
        before = state.value.clone()
        one, after = memory.read(state, make_query())
        other, _ = memory.read(after, make_query())
    assert torch.equal(after.value, before)
    assert torch.equal(one, other)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r'GraphMemory\.num_nodes must be at least 2, got 1'):
        GraphMemory(num_nodes=1)
    with pytest.raises(ValueError, match=r'GraphMemory\.steps must be at least 1, got 0'):
        GraphMemory(steps=0)
