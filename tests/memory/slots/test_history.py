"""How a selector learns: the history's gradient is what a frame changes in what is read."""

import dataclasses

import pytest
import torch
from helpers.memory_cases import (
    GRID,
    KEY,
    POSITIONS,
    VALUE,
    assert_close,
    clip,
    generator,
    make_entry,
    make_query,
    run,
)

from mmstremn.memory import (
    AnisotropicL2Affinity,
    DeformableAlign,
    DenseReader,
    Entry,
    FIFOSelector,
    GumbelSelector,
    LocalWindowReader,
    Query,
    Selector,
    SlotFusion,
    SlotMemory,
    SlotState,
    TopKReader,
)
from mmstremn.memory.readers import near

SLOTS = 3
PLAN = (
    0,
    1,
    2,
    1,
    3,
    0,
)  # slots 0, 1, 2 are filled, then 1 is overwritten, frame 4 is skipped, 0 is overwritten
KEPT = [0, 0, 1, 1, 0, 1]  # of the frames offered
CASES = [(1, False), (3, False), (1, True), (3, True)]


class Planned(Selector):
    """Chooses as planned, with one weight (B, G, S + 1) for every step that gradients can reach."""

    def __init__(self, groups=1, batch=2, plan=PLAN):
        super().__init__()
        one_hot = torch.eye(SLOTS + 1)[list(plan)]
        self.weights = torch.nn.Parameter(one_hot[:, None, None].repeat(1, batch, groups, 1))

    def score(self, state, entry):
        return torch.zeros_like(state.hits)

    def choose(self, logits, state):
        return self.weights[state.step]


def reader_of(shrinkage):
    return DenseReader(AnisotropicL2Affinity() if shrinkage else None)


def planned_run(groups=1, shrinkage=False, reader=None, **kwargs):
    """A memory after the plan in training, its selector, its state and the entries."""
    selector = Planned(groups)
    memory = SlotMemory(
        SLOTS, selector, reader or reader_of(shrinkage), [], per_object_key=groups > 1, **kwargs
    ).train()
    entries = [make_entry(i, 2, 3, groups, shrinkage) for i in range(len(PLAN))]
    return memory, selector, run(memory, entries)[0], entries


def weighted_readout(entries, query, kept, window=None):
    """sum_t kept_t exp(logit_t) v_t / sum_t kept_t exp(logit_t) over all entries in float64, written out
    plainly."""
    batch, objects = entries[0].value.shape[:2]
    out = torch.zeros(batch, objects, POSITIONS, VALUE, dtype=torch.double)
    for b in range(batch):
        for o in range(objects):
            g = o if entries[0].key.shape[1] > 1 else 0
            for p in range(POSITIONS):
                total, readout = 0, 0
                for t, entry in enumerate(entries):
                    difference = (entry.key[b, g].double() - query.key[b, p].double()) ** 2  # (P, Ck)
                    if query.selection is not None:
                        difference = difference * query.selection[b, p].double()
                    logit = -difference.sum(-1) / KEY**0.5
                    if entry.shrinkage is not None:
                        logit = logit * entry.shrinkage[b, g].double()
                    mass = kept[b, g, t] * logit.exp()
                    if window is not None:
                        mass = mass * window[p]
                    total = total + mass.sum()
                    readout = readout + mass @ entry.value[b, o].double()
                out[b, o, p] = readout / total
    return out


# What it stands for.


@pytest.mark.parametrize('groups, shrinkage', CASES)
def test_the_readout_is_that_without_a_history(groups, shrinkage):
    memory, _, state, _ = planned_run(groups, shrinkage)
    query = make_query(9, 2, selection=shrinkage)
    readout, _ = memory.read(state, query)
    plain, _ = memory.read(dataclasses.replace(state, history=None), query)
    assert readout.requires_grad
    assert torch.equal(readout, plain)


@pytest.mark.parametrize('groups, shrinkage', CASES)
def test_the_gradient_is_the_difference_that_a_frame_makes(groups, shrinkage):
    """To a random linear loss: with the frame less without it, whether it is held or not."""
    memory, _, state, entries = planned_run(groups, shrinkage)
    query = make_query(9, 2, selection=shrinkage)
    goal = torch.randn(2, 3, POSITIONS, VALUE, generator=generator(5))
    (gradient,) = torch.autograd.grad((memory.read(state, query)[0] * goal).sum(), state.history.kept)
    kept = torch.tensor(KEPT, dtype=torch.double).repeat(2, groups, 1)
    assert torch.equal(state.history.kept.double(), kept)
    assert_close(gradient.double(), differences(entries, query, kept, goal))


def differences(entries, query, kept, goal, window=None):
    """(B, G, T): what each frame adds to sum(readout * goal), by reading with and without it."""
    out = torch.zeros_like(kept)
    for t in range(kept.shape[2]):
        with_t, without = kept.clone(), kept.clone()
        with_t[..., t], without[..., t] = 1, 0
        change = weighted_readout(entries, query, with_t, window) - weighted_readout(
            entries, query, without, window
        )
        effect = (change * goal).sum((-2, -1))  # (B, O)
        out[..., t] = effect if kept.shape[1] > 1 else effect.sum(1, keepdim=True)
    return out


def test_the_gradient_of_a_choice_is_that_of_what_it_drops():
    """Slot by slot: what it held is kept no more; skipping: the frame itself is not."""
    memory, selector, state, _ = planned_run()
    loss = memory.read(state, make_query(9, 2))[0].square().sum()
    by_frame, by_choice = torch.autograd.grad(loss, (state.history.kept, selector.weights))
    assert_close(by_choice[3, :, 0, 1], -by_frame[:, 0, 1])  # slot 1 held frame 1, which was dropped here
    assert_close(by_choice[3, :, 0, 2], -by_frame[:, 0, 2])  # kept, to this day
    assert_close(by_choice[4, :, 0, 3], -by_frame[:, 0, 4])  # skipped
    assert_close(by_choice[5, :, 0, 0], -by_frame[:, 0, 0])
    assert (by_choice[3, :, 0, 0] == 0).all()  # frame 0 was kept here, but dropped for good later
    assert (by_frame[..., [1, 4]].abs() > 0).all()  # dropped frames
    assert (by_choice[0, ..., :SLOTS] == 0).all()  # empty slots
    assert (by_choice[1, ..., 1:SLOTS] == 0).all()


def test_the_only_frame_held_is_worth_as_much_as_it_reads():
    """Nothing would be left without it; the bound on its share keeps the gradient finite."""
    memory = SlotMemory(SLOTS, Planned(plan=(0,)), reader_of(False), []).train()
    state = run(memory, [make_entry(0, 2, 3)])[0]
    (gradient,) = torch.autograd.grad(
        memory.read(state, make_query(9, 2))[0].square().sum(), state.history.kept
    )
    assert gradient.isfinite().all()


def test_every_later_read_adds_to_the_gradient():
    memory, selector, state, _ = planned_run()

    def gradient(*queries):
        now, loss = state, 0
        for query in queries:
            readout, now = memory.read(now, query)
            loss = loss + readout.square().sum()
        return torch.autograd.grad(loss, selector.weights, retain_graph=True)[0]

    assert_close(
        gradient(make_query(7, 2), make_query(8, 2)), gradient(make_query(7, 2)) + gradient(make_query(8, 2))
    )


def test_a_frame_that_would_draw_all_the_attention_is_credited_within_bounds():
    memory, selector, state, _ = planned_run()
    far = dataclasses.replace(
        state.history, key=state.history.key * torch.tensor([0, 99, 99, 99, 0, 99.0])[:, None, None]
    )
    loss = (
        memory.read(dataclasses.replace(state, history=far), Query(torch.zeros(2, POSITIONS, KEY)))[0]
        .square()
        .sum()
    )
    gradient = torch.autograd.grad(loss, selector.weights)[0]
    assert gradient.isfinite().all()
    assert gradient.abs().max() < 1e4


# Other readers, options and types.


def test_a_local_window_is_also_that_of_the_history():
    memory, _, state, entries = planned_run(reader=LocalWindowReader(radius=0))
    query = make_query(9, 2)
    (gradient,) = torch.autograd.grad(memory.read(state, query)[0].square().sum(), state.history.kept)
    kept = torch.tensor(KEPT, dtype=torch.double).repeat(2, 1, 1)
    window = near(GRID, 0, 'cpu').double()
    goal = 2 * weighted_readout(entries, query, kept, window)  # the loss's own derivative
    assert_close(gradient.double(), differences(entries, query, kept, goal, window))


def test_top_k_learns_as_dense_reading_does():
    gradients = []
    for reader in (TopKReader(k=2), DenseReader()):
        memory, selector, state, _ = planned_run(reader=reader)
        loss = memory.read(state, make_query(9, 2))[0].square().sum()
        gradients.append(torch.autograd.grad(loss, selector.weights)[0])
    assert torch.equal(*gradients)


@pytest.mark.parametrize(
    'option', [dict(align=DeformableAlign(KEY, 4)), dict(fusion=SlotFusion(threshold=-1))]
)
def test_aligned_and_fused_slots_learn_too(option):
    memory, selector, state, _ = planned_run(**option)
    gradient = torch.autograd.grad(memory.read(state, make_query(9, 2))[0].square().sum(), selector.weights)[
        0
    ]
    assert gradient.isfinite().all()
    assert gradient[3].abs().max() > 0


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_under_autocast(dtype):
    memory = SlotMemory(SLOTS, GumbelSelector(KEY, VALUE, 8), gates=None).train()
    entries = [make_entry(i, dtype=dtype) for i in range(6)]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        state, readouts = run(memory, entries, [make_query(i, dtype=dtype) for i in range(6)], seeds=(0,))
    assert state.history.value.dtype == readouts[-1].dtype == dtype
    assert state.history.kept.dtype == torch.float32
    torch.stack(readouts).float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in memory.parameters())


# When there is one.


def test_a_prompted_frame_is_never_skipped_nor_learns_to_be():
    memory = SlotMemory(SLOTS, GumbelSelector(KEY, VALUE, 8)).train()
    entries, _ = clip(5)
    entries[4] = dataclasses.replace(entries[4], prompted=True)
    state, _ = run(memory, entries, seeds=(0,))
    assert_close(state.history.kept[..., -1], torch.ones(1, 1))
    (gradient,) = torch.autograd.grad(state.history.kept[..., -1].sum(), memory.selector.network[2].weight)
    assert gradient.abs().max() == 0


def test_there_is_none_where_nothing_can_learn_from_it():
    entry = make_entry()
    learns = SlotMemory(SLOTS, GumbelSelector(KEY, VALUE, 8))
    assert learns.train().init(entry).history is not None
    assert learns.eval().init(entry).history is None
    assert SlotMemory(SLOTS, FIFOSelector()).train().init(entry).history is None
    with torch.no_grad():
        assert learns.train().init(entry).history is None
    learns.selector.requires_grad_(False)
    assert learns.train().init(entry).history is None


def test_evaluation_saves_and_reloads_its_state():
    memory = SlotMemory(SLOTS, GumbelSelector(KEY, VALUE, 8)).eval()
    with torch.no_grad():
        state, _ = run(memory, *clip())
    assert state.plain()['history'] is None
    again = SlotState(**state.tensors(), **state.plain())
    assert torch.equal(memory.read(again, make_query(9))[0], memory.read(state, make_query(9))[0])


def test_writes_without_gradients_are_remembered_too():
    memory = SlotMemory(SLOTS, GumbelSelector(KEY, VALUE, 8)).train()
    entries, _ = clip(8)
    state, _ = run(memory, entries[:2], seeds=(0,))
    with torch.no_grad():
        for entry in entries[2:5]:
            state = memory.write(state, entry)
    for entry in entries[5:]:
        state = memory.write(state, entry)
    held = (state.history.kept[0, 0] > 0.5).nonzero().flatten()
    assert held.tolist() == sorted(state.written_at[0, 0].tolist())
    assert_close(
        state.history.value[0, :, held], torch.stack([entries[i].value[0, :] for i in held.tolist()], 1)
    )


def test_frames_that_are_passed_over_are_not_remembered():
    """The slots' steps are the frames', not places in the history."""
    selector = Planned(batch=1, plan=(0, 0, 1, 1, 2, 2, 3, 1))
    memory = SlotMemory(SLOTS, selector, gates=[]).train()
    entries, _ = clip(8)
    state = memory.init(entries[0])
    for index, entry in enumerate(entries[:7]):
        state = memory.pass_over(state) if index % 2 else memory.write(state, entry)
    assert state.history.steps.tolist() == [0, 2, 4, 6]
    assert state.history.kept[0, 0].tolist() == [1, 1, 1, 0]
    last = memory.write(state, entries[7])  # overwrites slot 1, which holds frame 2
    assert last.history.kept[0, 0].tolist() == [1, 0, 1, 0, 1]


@pytest.mark.parametrize('own_keys', [False, True])
def test_an_object_that_is_added_ends_it(own_keys):
    memory = SlotMemory(SLOTS, GumbelSelector(KEY, VALUE, 8), per_object_key=own_keys).train()
    entries, queries = clip(8, objects=2, groups=2 if own_keys else 1)
    first = [dataclasses.replace(e, key=e.key[:, :1], value=e.value[:, :1]) for e in entries[:4]]
    state, _ = run(memory, first, queries, seeds=(0,))
    state = memory.add_objects(state, 1)
    assert state.history is None
    for entry, query in zip(entries[4:], queries[4:], strict=True):
        state = memory.write(state, entry)
        readout, state = memory.read(state, query)
    assert readout.shape == (1, 2, POSITIONS, VALUE)
    assert readout.isfinite().all()


@pytest.mark.parametrize('groups', [1, 2])
def test_the_gradient_reaches_every_weight_of_the_selector(groups):
    torch.manual_seed(0)
    memory = SlotMemory(SLOTS, GumbelSelector(KEY, VALUE, 8), per_object_key=groups > 1).train()
    _, readouts = run(memory, *clip(objects=2, groups=groups), seeds=(0,))
    torch.stack(readouts).square().sum().backward()
    assert [name for name, p in memory.selector.named_parameters() if not p.grad.abs().max() > 0] == []


# What it is for.


def needles(seeds):
    """Streams of five frames, of which one, at place 0, 1 or 2, holds what the last query asks for; the
    others are noise.

    Returns:
        The entries, the query, the values (B, 1, 1, 4) that it asks for, and the places (B,).
    """
    keys, values, queries, places = [], [], [], []
    for seed in seeds:
        g = generator(seed)
        place = int(torch.randint(0, 3, (1,), generator=g))
        key, value = torch.randn(5, 1, 1, 4, generator=g), 0.3 * torch.randn(5, 1, 1, 4, generator=g)
        value[place, ..., 0] = 2.0
        keys.append(key)
        values.append(value)
        queries.append(key[place, 0] + 0.1 * torch.randn(1, 4, generator=g))
        places.append(place)
    keys, values, places = torch.stack(keys, 1), torch.stack(values, 1), torch.tensor(places)
    entries = [Entry(key, value, (1, 1)) for key, value in zip(keys, values, strict=True)]
    return entries, Query(torch.stack(queries)), values[places, range(len(places))], places


def test_one_step_keeps_the_useful_slot_and_drops_a_useless_one():
    """Whatever is dropped in the only decision, descent lowers the useful slot's score and raises a useless
    one's."""
    entries, query, goal, places = needles(range(10))
    for dropped in range(SLOTS + 1):
        selector = Planned(batch=10, plan=(0, 1, 2, dropped))
        memory = SlotMemory(SLOTS, selector, gates=[]).train()
        state, _ = run(memory, entries[:4])
        loss = (memory.read(state, query)[0] - goal).square().sum()
        gradient = torch.autograd.grad(loss, selector.weights)[0][
            3, :, 0
        ]  # (B, S + 1), as of scores it is centred
        assert torch.equal(gradient.argmax(-1), places)
        assert (gradient.amin(-1) < gradient.mean(-1)).all()


def kept_needles(memory):
    """The share of 200 streams at the end of which the arg-max has kept the useful frame."""
    entries, _, _, places = needles(range(10000, 10200))
    with torch.no_grad():
        state, _ = run(memory.eval(), entries)
    return (state.written_at[:, 0] == places[:, None]).any(-1).float().mean()


def test_a_selector_learns_to_keep_what_is_needed_later():
    torch.manual_seed(0)
    memory = SlotMemory(SLOTS, GumbelSelector(4, 4, 8))
    before = kept_needles(memory)
    optimizer = torch.optim.Adam(memory.parameters(), 2e-2)
    memory.train()
    for step in range(60):
        entries, query, goal, _ = needles(range(16 * step, 16 * step + 16))
        state, _ = run(memory, entries, seeds=tuple(range(16)))
        optimizer.zero_grad()
        (memory.read(state, query)[0] - goal).square().mean().backward()
        optimizer.step()
    assert before < 0.8
    assert kept_needles(memory) > 0.95
