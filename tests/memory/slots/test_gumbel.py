"""The learned selector: what it draws, what it learns, and that it learns to keep what is needed later."""

import math

import pytest
import torch
from helpers.memory_cases import KEY, VALUE, assert_equal_states, generator, make_entry, make_query, run, take

from mmstremn.memory import (
    EmptyFirst,
    Entry,
    FIFOSelector,
    GumbelSelector,
    Query,
    Selector,
    SlotMemory,
    SlotState,
    gumbel_softmax,
)
from mmstremn.memory.slots.noise import _mixed, uniform

LOGITS = torch.tensor([0.5, -1.0, 2.0, -math.inf, 0.0])


def make_selector(seed=0, **kwargs) -> GumbelSelector:
    torch.manual_seed(seed)
    return GumbelSelector(KEY, VALUE, channels=8, **kwargs)


def make_memory(num_slots=3, seed=0, **kwargs) -> SlotMemory:
    return SlotMemory(num_slots, make_selector(seed), **kwargs)


def filled_state(memory, batch=1, objects=1, groups=1, frames=6, seeds=None):
    with torch.no_grad():
        entries = [make_entry(i, batch, objects, groups) for i in range(frames)]
        queries = [make_query(i, batch) for i in range(frames)]
        return run(memory, entries, queries, seeds)[0]


def soft_weights(logits, noise, temperature):
    """softmax((logits + g) / temperature) with g = -log(-log(u)), in float64."""
    return ((logits.double() - (-noise.double().log()).log()) / temperature).softmax(-1)


def chi_square(counts, probabilities):
    """Of the classes that can be drawn; the number of degrees of freedom is one less."""
    possible = probabilities > 0
    expected = probabilities[possible] * counts.sum()
    return ((counts[possible] - expected).square() / expected).sum()


# The distribution.


@pytest.mark.parametrize('temperature', [0.05, 0.5, 1.0, 10.0])
def test_hard_samples_follow_softmax_at_every_temperature(temperature):
    noise = torch.rand(20000, 5, generator=generator(1))
    sample = gumbel_softmax(LOGITS.expand(20000, -1), noise, temperature)
    torch.testing.assert_close(sample.sum(-1), torch.ones(20000))
    counts = sample.round().sum(0).double()
    assert counts[3] == 0
    assert chi_square(counts, LOGITS.double().softmax(-1)) < 18  # 3 degrees of freedom: 1 in 2,000
    assert (
        chi_square(counts, (LOGITS.double() / 1.3).softmax(-1)) > 18
    )  # the test would see another distribution


def test_seeded_choices_follow_softmax_over_samples_and_over_steps():
    """The noise of neighbouring seeds and steps is independent enough."""
    selector = make_selector().train()
    state = SlotState.empty(make_entry(batch=4000), 4, tuple(range(4000)))
    counts = selector.choose(LOGITS.expand(4000, 1, -1), state).detach().round().sum((0, 1)).double()
    assert chi_square(counts, LOGITS.double().softmax(-1)) < 18
    state, counts = SlotState.empty(make_entry(), 4, (7,)), torch.zeros(5, dtype=torch.double)
    for state.step in range(4000):
        counts += selector.choose(LOGITS.expand(1, 1, -1), state)[0, 0].detach().round()
    assert chi_square(counts, LOGITS.double().softmax(-1)) < 18


def test_soft_weights_approach_the_hard_sample_as_the_temperature_falls():
    noise = torch.rand(500, 5, generator=generator(2))
    logits = LOGITS.expand(500, -1)
    hard = [gumbel_softmax(logits, noise, t) for t in (2.0, 0.5, 0.1, 0.01)]
    gaps = [(soft_weights(logits, noise, t) - hard[0]).abs().mean().item() for t in (2.0, 0.5, 0.1, 0.01)]
    assert all(torch.equal(one.round(), hard[0].round()) for one in hard)  # the same noise, the same sample
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 0.1
    assert gaps[-1] < 0.005


@pytest.mark.parametrize('temperature', [0.3, 1.0, 4.0])
def test_straight_through_gradient_is_the_soft_gradient(temperature):
    noise = torch.rand(50, 5, generator=generator(3))
    goal = torch.randn(50, 5, generator=generator(4))
    logits = LOGITS.expand(50, -1).clone().requires_grad_()
    (got,) = torch.autograd.grad((gumbel_softmax(logits, noise, temperature) * goal).sum(), logits)
    (expected,) = torch.autograd.grad((soft_weights(logits, noise, temperature) * goal).sum(), logits)
    assert (got[:, 3] == 0).all()  # barred: no gradient, and no NaN
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)
    assert got.abs().max() > 0.01


def test_extreme_noise_is_finite():
    edge = torch.tensor([[0.0, 1 - 2**-24, 0.5], [0.0, 0.0, 0.0]])
    logits = torch.zeros(2, 3, requires_grad=True)
    sample = gumbel_softmax(logits, edge, 0.1)
    sample.sum().backward()
    assert sample.isfinite().all()
    assert logits.grad.isfinite().all()
    assert sample[0].argmax() == 1


def test_evaluation_takes_the_arg_max():
    selector = make_selector()
    state = SlotState.empty(make_entry(batch=300), 4, tuple(range(300)))
    logits = torch.randn(300, 1, 5, generator=generator(5))
    best = logits.argmax(-1)
    assert torch.equal(selector.eval().choose(logits, state).argmax(-1), best)
    assert not torch.equal(selector.train().choose(logits, state).argmax(-1), best)


# Noise.


def test_noise_is_a_function_of_seed_and_step_in_any_batch():
    state = SlotState.empty(make_entry(batch=3), 4, (11, 12, 13))
    state.step = 5
    together = uniform(state, (1, 5))
    torch.rand(3)
    torch.testing.assert_close(uniform(state, (1, 5)), together, rtol=0, atol=0)
    alone = SlotState.empty(make_entry(), 4, (12,))
    alone.step = 5
    torch.testing.assert_close(uniform(alone, (1, 5))[0], together[1], rtol=0, atol=0)
    alone.step = 6
    assert (uniform(alone, (1, 5))[0] - together[1]).abs().min() > 1e-6
    assert (together[0] - together[1]).abs().min() > 1e-6


def test_the_hash_behind_the_noise_is_lowbias32():
    numbers = [0, 1, 2, 12345, 2**31, 2**32 - 1, 2**40 + 7, -1]
    expected = []
    for x in numbers:
        x %= 2**32
        x = (x ^ x >> 16) * 0x7FEB352D % 2**32
        x = (x ^ x >> 15) * 0x846CA68B % 2**32
        expected.append(x ^ x >> 16)
    assert _mixed(torch.tensor(numbers)).tolist() == expected


def test_noise_of_an_object_is_the_same_however_many_pad_the_batch():
    state = SlotState.empty(make_entry(), 9, (3,))
    torch.testing.assert_close(uniform(state, (8, 10))[:, :2], uniform(state, (2, 10)), rtol=0, atol=0)


def test_seeds_of_any_size_are_taken():
    for seed in (-1, 0, 2**40 + 1, 2**63 - 1):
        assert uniform(SlotState.empty(make_entry(), 2, (seed,)), (1, 3)).shape == (1, 1, 3)


@pytest.mark.parametrize('groups', [1, 2])
def test_a_sample_chooses_alike_in_any_batch(groups):
    """Also where the batch pads it with an absent object: zero values, probability 0."""
    memory = make_memory(4, gates=[]).train()
    entries = [make_entry(i, batch=4, objects=2, groups=groups) for i in range(7)]
    state, _ = run(memory, entries, seeds=(5, 6, 7, 8))
    for sample in range(4):
        alone = [take(entry, slice(sample, sample + 1)) for entry in entries]
        state_alone, _ = run(memory, alone, seeds=(5 + sample,))
        assert torch.equal(state_alone.written_at[0], state.written_at[sample])


def test_an_absent_object_changes_nothing():
    selector = make_selector().eval()
    memory = SlotMemory(3, selector, gates=[EmptyFirst()]).eval()
    entries = [make_entry(i, batch=2, objects=2) for i in range(5)]
    padded = [
        Entry(e.key, torch.cat([e.value, torch.zeros_like(e.value[:, :1])], 1), e.grid) for e in entries
    ]
    with torch.no_grad():
        (state, _), (state_padded, _) = run(memory, entries[:4]), run(memory, padded[:4])
        plain, with_padding = selector(state, entries[4]), selector(state_padded, padded[4])
    torch.testing.assert_close(with_padding, plain, rtol=0, atol=1e-6)
    other = Entry(padded[4].key, padded[4].value + 1, padded[4].grid)
    assert (selector(state_padded, other) - plain).abs().max() > 1e-3  # values do have a say


def test_objects_with_own_keys_choose_independently():
    selector = make_selector().eval()
    memory = SlotMemory(3, selector, per_object_key=True).eval()
    state = filled_state(memory, objects=3, groups=3)
    entry = make_entry(9, objects=3, groups=3)
    logits = selector(state, entry)
    torch.testing.assert_close(logits, selector(state, make_entry(9, objects=3, groups=3)), rtol=0, atol=0)
    other = make_entry(9, objects=3, groups=3)
    other.key[:, 2] += 1
    other.value[:, 2] += 1
    torch.testing.assert_close(selector(state, other)[:, :2], logits[:, :2], rtol=0, atol=1e-6)
    assert (selector(state, other)[:, 2] - logits[:, 2]).abs().max() > 1e-3


# The network.


def test_weights_do_not_depend_on_the_number_of_slots():
    weights = make_memory(3).state_dict()
    for number in (1, 2, 8):
        memory = make_memory(number, seed=1)
        memory.load_state_dict(weights)
        state = filled_state(memory.eval(), frames=10)
        assert memory.selector(state, make_entry(20)).shape == (1, 1, number + 1)


def test_the_order_of_the_slots_does_not_matter():
    memory = make_memory(4).eval()
    state, order = filled_state(memory), torch.tensor([2, 0, 3, 1])
    shuffled = state.map(lambda tensor: tensor[:, :, order])
    logits = memory.selector(state, make_entry(9))
    expected = torch.cat([logits[..., order], logits[..., -1:]], -1)
    torch.testing.assert_close(memory.selector(shuffled, make_entry(9)), expected, rtol=0, atol=1e-5)
    assert logits[0, 0].unique().numel() == 5


# What the network sees, against its definition written out in loops.

STEP = 8
WRITTEN, READ, HITS = [0, -1, 5, 6], [7, -1, -1, 6], [3.0, 0.0, 0.25, 1.5]


def seen_by_the_network(selector, copied=False):
    """The state (of 4 slots, the second empty), the entry, and the network's input (5, 4 C + 7) for them.

    Args:
        copied: Slot 2 holds what the entry shows.
    """
    state = SlotState.empty(make_entry(), 4)
    for slot, step in enumerate(WRITTEN):
        if step >= 0:
            held = make_entry(9 if copied and slot == 2 else step)
            state.key[:, :, slot], state.value[:, :, slot] = held.key, held.value
    state.written_at[0, 0], state.read_at[0, 0] = torch.tensor(WRITTEN), torch.tensor(READ)
    state.hits[0, 0], state.step = torch.tensor(HITS), STEP
    inputs, entry = [], make_entry(9)
    handle = selector.network.register_forward_hook(lambda module, args, output: inputs.append(args[0]))
    with torch.no_grad():
        selector(state, entry)
    handle.remove()
    return state, entry, inputs[0][0, 0]


def described(selector, key, value):
    """The description (C,) of keys (P, Ck) and values (P, Cv), and how much of the object they show."""
    weight = selector.attend(value).relu().mean(-1)
    key, value = (
        sum(w * row for w, row in zip(weight, rows, strict=True)) / len(weight) for rows in (key, value)
    )
    key, value = key / (weight.mean() + 1e-3), value / (weight.mean() + 1e-3)
    return selector.norm(selector.describe_key(key) + selector.describe_value(value)), weight.mean()


def cosine(one, other):
    return float(one @ other / (one.norm() * other.norm()))


@pytest.mark.parametrize('copied', [False, True])
def test_what_the_network_sees(copied):
    """Descriptions beside the new frame's; likeness, nearest other, age, time unused, usage, share shown."""
    selector = make_selector().eval()
    state, entry, seen = seen_by_the_network(selector, copied)
    filled = [slot for slot, step in enumerate(WRITTEN) if step >= 0]
    with torch.no_grad():
        of = {slot: described(selector, state.key[0, 0, slot], state.value[0, 0, slot]) for slot in filled}
        of[4] = described(selector, entry.key[0, 0], entry.value[0, 0])
    new, mean = of[4][0], sum(text for text, _ in of.values()) / len(of)
    for index in (*filled, 4):
        text, shown = of[index]
        features = torch.cat([text, text * new, text - mean, new])
        torch.testing.assert_close(seen[index, :-7], features, rtol=1e-4, atol=1e-5)
        nearest = max(cosine(text, other) for place, (other, _) in of.items() if place != index)
        expected = [1.0, nearest, 0, 0, 0, math.log1p(shown), 1]
        if index < 4:
            pairs = zip(state.key[0, 0, index], entry.key[0, 0], strict=True)
            expected[0] = sum(cosine(*pair) for pair in pairs) / len(entry.key[0, 0])
            age, unused = STEP - WRITTEN[index], STEP - max(WRITTEN[index], READ[index])
            usage = HITS[index] * len(filled) / age  # of the frames since, in even shares
            expected[2:] = [age / 8, unused / 8, math.log1p(usage), math.log1p(shown), 0]
        torch.testing.assert_close(seen[index, -7:], torch.tensor(expected), rtol=1e-4, atol=1e-5)
    if copied:
        assert seen[4, -6] > 1 - 1e-5  # the new frame's nearest other is the copy of it
    else:
        assert seen[4, -6] < 0.99  # and without one it is not itself


def test_empty_slots_give_finite_moderate_gradients():
    """Without EmptyFirst the selector also scores empty slots, whose content is exactly zero."""
    memory = make_memory(4, gates=[]).train()
    entries = [make_entry(i, batch=8, objects=2, prompted=i == 0) for i in range(6)]
    for entry in entries:
        entry.key.requires_grad_()
        entry.value.requires_grad_()
    _, readouts = run(memory, entries, [make_query(i, batch=8) for i in range(6)], seeds=tuple(range(8)))
    torch.stack(readouts[3:]).square().sum().backward()
    gradients = [p.grad for p in memory.parameters()] + [entry.value.grad for entry in entries]
    assert max(float(g.abs().max()) for g in gradients if g is not None) < 1e4


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_scores_are_float32(dtype):
    memory = make_memory().eval()
    entries = [make_entry(i, dtype=dtype) for i in range(5)]
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        state, _ = run(memory, entries[:4])
        assert state.key.dtype == dtype
        assert memory.selector(state, entries[4]).dtype == torch.float32


# Statistics.


def test_statistics_count_real_choices_only():
    memory = make_memory(3).train()
    run(memory, [make_entry(i, batch=2) for i in range(3)], seeds=(0, 1))  # forced by EmptyFirst
    assert memory.selector.pop_statistics()['choices'] == 0
    run(memory, [make_entry(i, batch=2) for i in range(8)], seeds=(0, 1))
    assert memory.selector.pop_statistics()['choices'] == 10
    assert memory.selector.pop_statistics() == {}
    filled_state(memory.eval())
    assert memory.selector.pop_statistics() == {}


def test_statistics_are_means_over_choices():
    selector = make_selector().train()
    state = filled_state(make_memory(2).eval(), frames=2)
    state.step, state.written_at = 10, torch.tensor([[[4, 7]]])
    certain = torch.tensor([[[50.0, 0.0, 0.0]]])
    skip = torch.tensor([[[0.0, 0.0, 50.0]]])
    for logits in (certain, certain, skip, torch.tensor([[[-math.inf, 50.0, 0.0]]])):
        selector.choose(logits, state)
    statistics = selector.pop_statistics()
    assert statistics['choices'] == 4
    assert statistics['skips'] == pytest.approx(0.25)
    assert statistics['age'] == pytest.approx((6 + 6 + 0 + 3) / 4)
    assert statistics['entropy'] == pytest.approx(0, abs=1e-6)
    selector.choose(torch.zeros(1, 1, 3), state)
    assert selector.pop_statistics()['entropy'] == pytest.approx(math.log(3))


# Learning.


def clip_loss(memory, seeds):
    entries = [make_entry(i, batch=len(seeds)) for i in range(6)]
    _, readouts = run(memory, entries, [make_query(i, len(seeds)) for i in range(6)], seeds)
    return torch.stack(readouts).square().sum()


def test_the_loss_of_a_clip_with_forced_choices_reaches_every_weight():
    memory = make_memory(2).train()
    clip_loss(memory, tuple(range(16))).backward()
    for name, parameter in memory.selector.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 1e-6, name


def test_the_last_bias_is_kept_but_not_learned():
    """It adds the same to all candidates; weights of former versions hold it and load."""
    selector = make_memory(2).selector
    assert 'network.2.bias' in selector.state_dict()
    assert 'network.2.bias' not in dict(selector.named_parameters())
    selector.load_state_dict(selector.state_dict() | {'network.2.bias': torch.ones(1)})
    assert selector.network[2].bias == 1


def test_without_a_real_choice_no_gradient_arrives():
    memory = make_memory(6).train()
    clip_loss(memory, (0, 1)).backward()
    assert all(p.grad is None or (p.grad == 0).all() for p in memory.selector.parameters())


BATCH, LENGTH = 32, 6


def toy_stream(seed):
    """One frame of each stream, at a random place, is marked; its content is asked for at the end.

    Returns:
        Entries, the query for the marked frame, its content (B, 2), its place (B,).
    """
    g = generator(seed)
    place = torch.randint(0, LENGTH - 1, (BATCH,), generator=g)
    marked = torch.zeros(BATCH, LENGTH).scatter_(1, place[:, None], 1)[..., None]
    content = torch.randn(BATCH, LENGTH, 2, generator=g)
    axis, noise = torch.eye(KEY)[0], torch.randn(BATCH, LENGTH, KEY, generator=g)
    key = 4 * (
        marked * axis + (1 - marked) * (noise * (1 - axis))
    )  # marked frames alone have a key along the axis
    value = torch.cat([content, 2 * marked, torch.zeros(BATCH, LENGTH, VALUE - 3)], -1)
    entries = [Entry(key[:, t, None, None], value[:, t, None, None], (1, 1)) for t in range(LENGTH)]
    wanted = content[torch.arange(BATCH), place]
    return entries, Query((4 * axis).expand(BATCH, 1, KEY)), wanted, place


def toy_run(memory, seed):
    entries, query, wanted, place = toy_stream(seed)
    state, _ = run(memory, entries, seeds=tuple(range(1000 * seed, 1000 * seed + BATCH)))
    readout, state = memory.read(state, query)
    kept = (state.written_at[:, 0] == place[:, None]).any(-1).float().mean().item()
    return (readout[:, 0, 0, :2] - wanted).square().mean(), kept


def kept_in_evaluation(memory):
    memory.eval()
    with torch.no_grad():
        shares = [toy_run(memory, 10_000 + seed)[1] for seed in range(8)]
    memory.train()
    return sum(shares) / len(shares)


def test_the_selector_learns_to_keep_what_is_needed_later():
    memory = make_memory(2, seed=3).train()
    before = kept_in_evaluation(memory)
    fifo = kept_in_evaluation(SlotMemory(2, FIFOSelector()))
    optimizer = torch.optim.Adam(memory.parameters(), lr=1e-2)
    losses = []
    for step in range(150):
        loss, _ = toy_run(memory, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    after = kept_in_evaluation(memory)
    assert fifo < 0.5
    assert before < 0.8
    assert after > 0.97
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])


def test_both_gradients_write_the_same_and_reach_the_selector():
    """``gradient='blend'`` changes what the loss says of a choice, not what is stored."""
    states, gradients = [], []
    for gradient in ('history', 'blend'):
        memory = SlotMemory(2, make_selector(gradient=gradient)).train()
        entries = [make_entry(index, batch=2, objects=2, prompted=index == 0) for index in range(7)]
        state, readouts = run(memory, entries, [make_query(i, batch=2) for i in range(7)], seeds=(0, 1))
        torch.stack(readouts[3:]).square().sum().backward()
        states.append(state)
        gradients.append(memory.selector.network[0].weight.grad)
    assert_equal_states(*states)
    assert all(gradient.abs().max() > 0 for gradient in gradients)
    assert not torch.allclose(*gradients)


def test_gradient_of_blending_is_the_difference_between_new_and_old():
    class Planned(Selector):
        """Overwrites slot 0 and keeps what it chose."""

        gradient = 'blend'

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))
            self.choices = []

        def score(self, state, entry):
            return torch.zeros_like(state.hits)

        def choose(self, logits, state):
            choice = torch.nn.functional.one_hot(torch.zeros(logits.shape[:2], dtype=torch.long), 3)
            self.choices.append((choice + 0 * self.weight).requires_grad_())
            return self.choices[-1]

    memory = SlotMemory(2, Planned(), gates=[]).train()
    entries = [make_entry(index, shrinkage=True) for index in range(2)]
    state, _ = run(memory, entries)
    for name in ('key', 'value', 'shrinkage'):
        old, new = (getattr(entry, name).flatten(2).sum(-1) for entry in entries)
        stored = getattr(state, name)[:, :, 0].sum()
        (slope,) = torch.autograd.grad(stored, memory.selector.choices[1], retain_graph=True)
        torch.testing.assert_close(slope[..., 0].sum(), (new - old).sum())


@pytest.mark.parametrize('gradient', ['history', 'blend'])
def test_training_stores_what_is_given_in_its_type(gradient):
    memory = SlotMemory(2, make_selector(gradient=gradient)).train()
    entries = [make_entry(index, shrinkage=True, dtype=torch.bfloat16) for index in range(4)]
    state, _ = run(memory, entries, seeds=(0,))
    assert {state.key.dtype, state.value.dtype, state.shrinkage.dtype} == {torch.bfloat16}
    assert state.value.requires_grad == (gradient == 'blend')


def test_another_gradient_is_refused():
    with pytest.raises(ValueError, match=r"GumbelSelector\.gradient must be one of .*, got 'none'"):
        make_selector(gradient='none')
