"""Each hand-made selector evicts what it says; each gate lets through what it says."""

import dataclasses
import itertools

import pytest
import torch
from helpers.memory_cases import generator, make_entry, make_query, run

from mmstremn.memory import (
    SELECTORS,
    DiversitySelector,
    EmptyFirst,
    EveryN,
    FeatureSelector,
    FIFOSelector,
    Gate,
    GumbelSelector,
    KeepFirst,
    KeepPrompted,
    LFUSelector,
    LIFOSelector,
    LogarithmicSelector,
    LRUSelector,
    MinConfidence,
    MinNovelty,
    MinPresence,
    MostSimilarSelector,
    RandomSelector,
    ReservoirSelector,
    Selector,
    Skip,
    SlotMemory,
    SlotState,
)

RULES = [selector for selector in SELECTORS if selector not in (GumbelSelector, FeatureSelector)]
pytestmark = pytest.mark.usefixtures('without_gradients')


@pytest.fixture
def without_gradients():
    with torch.no_grad():
        yield


def slots(written_at, read_at=None, hits=None, step=None, seeds=None) -> SlotState:
    """A state of one sample whose slots hold ``make_entry`` of the steps at which they were written."""
    state = SlotState.empty(make_entry(), len(written_at), seeds)
    for slot, stamp in enumerate(written_at):
        if stamp >= 0:
            state.key[:, :, slot], state.value[:, :, slot] = make_entry(stamp).key, make_entry(stamp).value
    state.written_at[:] = torch.tensor(written_at)
    state.read_at[:] = torch.tensor(read_at if read_at is not None else [-1] * len(written_at))
    state.hits[:] = torch.tensor(hits if hits is not None else [0.0] * len(written_at))
    state.relevance = state.hits.clone()
    state.step = max(written_at) + 1 if step is None else step
    return state


def chosen(memory_or_selector, state, entry=None) -> int:
    """The slot that is overwritten; the number of slots stands for none."""
    entry = entry or make_entry(99)
    memory = memory_or_selector
    if isinstance(memory, Selector):
        memory = SlotMemory(state.num_slots, memory, gates=[])
    choice = memory.eval().select(state, entry)
    assert choice.shape == (*state.written_at.shape[:2], state.num_slots + 1)
    assert (choice.sum(-1) == 1).all()
    return int(choice[0, 0].argmax())


def held(memory, length=8, entries=None) -> list[list[int]]:
    """The frames that the slots hold after each frame of a stream."""
    entries = entries or [make_entry(i) for i in range(length)]
    state, history = memory.eval().init(entries[0], seeds=(0,)), []
    for index, entry in enumerate(entries):
        if index:
            _, state = memory.read(state, make_query(index))
        state = memory.write(state, entry)
        history.append(sorted(state.written_at[0, 0].tolist()))
    return history


# Selectors.


def test_fifo_holds_the_newest():
    assert held(SlotMemory(3, FIFOSelector()))[2:] == [[t - 2, t - 1, t] for t in range(2, 8)]


def test_scores_of_fifo_and_lifo_are_ages():
    entries = [make_entry(index) for index in range(6)]
    state, _ = run(SlotMemory(3, FIFOSelector()).eval(), entries[:5])
    assert FIFOSelector().score(state, entries[5]).tolist() == [[[2, 1, 3]]]
    assert LIFOSelector().score(state, entries[5]).tolist() == [[[-2, -1, -3]]]


def test_lifo_holds_the_oldest_and_the_newest():
    assert held(SlotMemory(3, LIFOSelector()))[2:] == [[0, 1, t] for t in range(2, 8)]


@pytest.mark.parametrize('selector, expected', [(FIFOSelector, 1), (LIFOSelector, 2), (LRUSelector, 1)])
def test_ages_are_exact_in_a_stream_of_days(selector, expected):
    first = 2**25  # beyond it float32 cannot tell neighbouring integers apart
    assert chosen(selector(), slots([first + 1, first, first + 2])) == expected


def test_lru_is_exact_in_a_stream_of_years():
    g = torch.Generator().manual_seed(0)
    for _ in range(20):
        written = torch.randint(2**31, (4,), generator=g)
        read = written + torch.randint(2**31, (4,), generator=g)
        state = slots([0, 1, 2, 3])
        state.written_at[:], state.read_at[:], state.step = written, read, 2**32
        assert chosen(LRUSelector(), state) == read.argmin()
        state.read_at[:] = read.max()
        assert chosen(LRUSelector(), state) == written.argmin()


def test_lru_drops_what_was_read_longest_ago():
    assert chosen(LRUSelector(), slots([0, 1, 2], read_at=[9, 7, 8], step=10)) == 1


def test_lru_ties_go_to_the_oldest():
    assert chosen(LRUSelector(), slots([5, 3, 4], read_at=[8, 8, 8], step=9)) == 1
    assert chosen(LRUSelector(), slots([0, 1, 2], read_at=[6, 9, 6], step=10)) == 0


def test_lru_counts_writing_as_use():
    assert chosen(LRUSelector(), slots([0, 9, 4], read_at=[7, -1, 8], step=10)) == 0
    assert chosen(LRUSelector(), slots([0, 3, 4], read_at=[7, -1, 8], step=10)) == 1


def test_lru_follows_the_reads_of_a_stream():
    """Every frame asks for frame 0, so frame 0 stays although it is the oldest."""
    memory = SlotMemory(3, LRUSelector()).eval()
    entries = [make_entry(i) for i in range(8)]
    query = make_query()
    query.key = 10 * entries[0].key[:, 0]
    entries = [dataclasses.replace(entry, key=10 * entry.key) for entry in entries]
    state, _ = run(memory, entries, [query] * 8)
    assert sorted(state.written_at[0, 0].tolist()) == [0, 6, 7]
    assert state.read_at[0, 0, state.written_at[0, 0] == 0].item() == 7


def test_even_shares_are_not_use():
    """Slots of equal content draw equal shares up to rounding; none of them is used more than the others."""
    for number in range(1, 8):
        memory = SlotMemory(number, FIFOSelector()).eval()
        state, _ = run(memory, [make_entry(0)] * number)
        for seed in range(20):
            _, state = memory.read(state, make_query(seed))
            assert (state.read_at == -1).all()


def test_lfu_drops_the_least_attention_per_frame_of_life():
    # 10 frames of life with 4 hits are .4 a frame; 2 frames with 1 hit are .5: the total would choose the
    # second.
    assert chosen(LFUSelector(), slots([0, 8, 5], hits=[4.0, 1.0, 4.0], step=10)) == 0
    assert chosen(LFUSelector(), slots([0, 8, 5], hits=[6.0, 0.6, 4.0], step=10)) == 1


def test_usage_starts_anew_with_every_content():
    memory = SlotMemory(2, FIFOSelector()).eval()
    state, _ = run(memory, [make_entry(i) for i in range(5)], [make_query(i) for i in range(5)])
    newest, older = state.written_at[0, 0].argmax(), state.written_at[0, 0].argmin()
    assert state.hits[0, 0, newest] == 0
    assert 0 < state.hits[0, 0, older] < 1  # one read since
    assert state.read_at[0, 0, newest] == -1


def test_hits_sum_the_shares_of_all_reads():
    memory = SlotMemory(4, FIFOSelector()).eval()
    state, _ = run(memory, [make_entry(i) for i in range(4)], [make_query(i) for i in range(4)])
    torch.testing.assert_close(state.hits.sum(-1), torch.tensor([[3.0]]))


def test_most_similar_drops_the_likeness_of_the_new_frame():
    state = slots([3, 1, 2])
    for slot, stamp in enumerate([3, 1, 2]):
        entry = make_entry(stamp)
        noise = 0.1 * torch.randn(entry.key.shape, generator=generator(5))
        assert (
            chosen(MostSimilarSelector(), state, dataclasses.replace(entry, key=7 * entry.key + noise))
            == slot
        )


def test_most_similar_keeps_one_of_each_kind():
    """Three kinds of frames in three slots: after a stream of them each kind is still there."""
    kinds = [make_entry(kind) for kind in (0, 1, 2)]
    order = [0, 1, 2, 0, 0, 1, 0, 2, 2, 1, 1]
    state, _ = run(SlotMemory(3, MostSimilarSelector()).eval(), [kinds[kind] for kind in order])
    assert sorted(order[stamp] for stamp in state.written_at[0, 0].tolist()) == [0, 1, 2]
    assert max(state.written_at[0, 0].tolist()) == 10


def test_random_is_a_function_of_seed_and_step():
    memory = SlotMemory(5, RandomSelector(), gates=[]).eval()

    def choices(seeds, step):
        state = SlotState.empty(make_entry(batch=len(seeds)), 5, seeds)
        state.step = step
        return memory.select(state, make_entry(batch=len(seeds)))[:, 0].argmax(-1).tolist()

    together = choices(tuple(range(40)), 3)
    torch.rand(7)  # the global generator has no say
    assert together == choices(tuple(range(40)), 3)
    assert [choices((seed,), 3)[0] for seed in range(39, -1, -1)] == together[::-1]
    assert choices(tuple(range(40)), 4) != together


@pytest.mark.parametrize('axis', ['seeds', 'steps'])
def test_random_is_uniform(axis):
    selector, number = RandomSelector(), 3000
    state = SlotState.empty(make_entry(batch=number), 5, tuple(range(number)))
    if axis == 'seeds':
        winners = selector(state, make_entry())[:, 0].argmax(-1)
    else:
        winners = []
        state = SlotState.empty(make_entry(), 5, (1234,))
        for state.step in range(number):
            winners.append(selector(state, make_entry())[0, 0].argmax())
        winners = torch.stack(winners)
    counts = torch.bincount(winners, minlength=6).double()
    assert counts[5] == 0
    chi_square = ((counts[:5] - number / 5).square() / (number / 5)).sum()
    assert chi_square < 20  # 4 degrees of freedom: 1 in 2,000


def test_random_without_seed_draws_from_the_global_generator():
    state = SlotState.empty(make_entry(batch=50), 5)
    torch.manual_seed(0)
    first = RandomSelector()(state, make_entry())
    assert (RandomSelector()(state, make_entry()) != first).any()
    torch.manual_seed(0)
    torch.testing.assert_close(RandomSelector()(state, make_entry()), first, rtol=0, atol=0)


def test_a_reservoir_holds_each_past_frame_with_the_same_probability():
    memory, number, length = SlotMemory(3, ReservoirSelector()).eval(), 400, 12
    entries = [make_entry(i, batch=number) for i in range(length)]
    state, _ = run(memory, entries, seeds=tuple(range(number)))
    counts = torch.bincount(state.written_at.flatten(), minlength=length).double()
    expected = number * 3 / length
    assert counts.sum() == 3 * number
    assert ((counts - expected).square() / expected).sum() < 35  # 11 degrees of freedom: 1 in 4,000


def test_a_reservoir_is_a_function_of_the_seed():
    def kept(seeds):
        entries = [make_entry(i, batch=len(seeds)) for i in range(30)]
        return run(SlotMemory(3, ReservoirSelector()).eval(), entries, seeds=seeds)[0].written_at.tolist()

    together = kept((0, 1, 2, 3))
    assert together == [kept((seed,))[0] for seed in range(4)]
    assert len({str(frames) for frames in together}) > 1


@pytest.mark.parametrize('every', [1, 5])
def test_logarithmic_ages_are_in_geometric_progression(every):
    memory = SlotMemory(6, LogarithmicSelector(), gates=[EmptyFirst(), EveryN(every)])
    length = 200
    frames = held(memory, length * every)[-1]
    ages = [(length * every - frame) / every for frame in reversed(frames)]
    ratios = [older / newer for newer, older in itertools.pairwise(ages)]
    assert frames[0] == 0
    assert ages[0] == 1
    assert all(1.2 < ratio < 8 for ratio in ratios), ages  # 200 ** (1 / 5) is 2.9


@pytest.mark.parametrize('selector', RULES)
def test_rules_never_prefer_to_skip(selector):
    for seed in range(30):
        g = generator(seed)
        stamps = torch.randperm(100, generator=g)[:4].tolist()
        state = slots(
            stamps,
            torch.randint(-1, 100, (4,), generator=g).tolist(),
            torch.rand(4, generator=g).tolist(),
            100,
        )
        state.seeds = (seed,)
        logits = selector()(state, make_entry(seed))
        assert logits.isfinite().all()
        assert chosen(selector(), state) < 4 or selector in (DiversitySelector, ReservoirSelector)


@pytest.mark.parametrize('selector', SELECTORS)
def test_every_selector_scores_slots_and_skip(selector):
    arguments = dict(key_channels=3, value_channels=5) if selector is GumbelSelector else {}
    memory = SlotMemory(3, selector(**arguments)).eval()
    for groups in (1, 2):
        entry = make_entry(batch=2, objects=2, groups=groups)
        state = memory.write(memory.init(entry, seeds=(0, 1)), entry)
        assert memory.selector(state, entry).shape == (2, groups, 4)


def test_a_selector_without_score_says_so():
    class Unfinished(Selector):
        pass

    with pytest.raises(NotImplementedError, match=r'Unfinished must implement score\(state, entry\)'):
        Unfinished()(slots([0]), make_entry())


# Gates.


class Fixed(Selector):
    """The scores it is told, skip's last."""

    def __init__(self, *scores):
        super().__init__()
        self.scores = torch.tensor(scores)

    def forward(self, state, entry):
        return self.scores.expand(*state.written_at.shape[:2], -1)


def test_empty_slots_come_first_and_in_order():
    memory = SlotMemory(4, Fixed(3.0, 2.0, 1.0, 0.0, 9.0), gates=[EmptyFirst()])
    assert chosen(memory, slots([0, -1, 1, -1])) == 1
    assert chosen(memory, slots([0, 2, 1, -1])) == 3
    assert chosen(memory, slots([0, 2, 1, 3])) == 4
    gated = EmptyFirst()(torch.zeros(1, 1, 5), slots([0, -1, 1, -1]), make_entry())
    assert gated[0, 0].isfinite().tolist() == [
        False,
        True,
        False,
        False,
        False,
    ]  # so a draw has no choice either


@pytest.mark.parametrize('selector', SELECTORS)
def test_keep_first_never_loses_frame_0(selector):
    arguments = dict(key_channels=3, value_channels=5) if selector is GumbelSelector else {}
    history = held(SlotMemory(3, selector(**arguments), gates=[EmptyFirst(), KeepFirst()]), 60)
    assert all(frames[-1] >= 0 and 0 in frames for frames in history)


def test_without_keep_first_frame_0_is_lost():
    assert 0 not in held(SlotMemory(3, FIFOSelector()), 60)[-1]


def test_prompted_frames_are_kept_and_the_oldest_but_the_first_give_way():
    entries = [make_entry(i, prompted=i in (0, 3, 5)) for i in range(12)]
    assert held(SlotMemory(4, FIFOSelector(), gates=[EmptyFirst(), KeepPrompted()]), entries=entries)[-1] == [
        0,
        3,
        5,
        11,
    ]
    for slots_, gate in ((3, KeepPrompted()), (5, KeepPrompted(most=2))):
        frames = held(SlotMemory(slots_, FIFOSelector(), gates=[EmptyFirst(), gate]), entries=entries)[-1]
        assert {0, 5, 11} <= set(frames)
        assert 3 not in frames


@pytest.mark.parametrize('selector', RULES)
def test_more_prompts_than_slots_leave_one_slot_for_other_frames(selector):
    entries = [make_entry(i, prompted=i % 3 == 0) for i in range(40)]
    memory = SlotMemory(3, selector(), gates=[EmptyFirst(), KeepPrompted()])
    history = held(memory, entries=entries)
    for now, frames in enumerate(history[10:], 10):
        assert 0 in frames
        assert now // 3 * 3 in frames  # the newest prompt


def test_prompts_are_known_of_each_key_group_and_with_gradients():
    memory = SlotMemory(3, FIFOSelector(), gates=[EmptyFirst(), KeepPrompted()]).eval()
    entries = [make_entry(i, objects=2, groups=2, prompted=i == 1) for i in range(6)]
    state, _ = run(memory, entries)
    with torch.enable_grad():
        other, _ = run(memory, entries)
    assert (state.prompted == (state.written_at == 1)).all()
    assert (other.prompted == state.prompted).all()
    assert state.prompted.any(-1).all()


def test_keep_prompted_refuses_nonsense():
    with pytest.raises(ValueError, match=r'KeepPrompted\.most must be at least 1 or None, got 0'):
        KeepPrompted(0)
    with pytest.raises(ValueError, match='which only a memory with it keeps'):
        KeepPrompted()(torch.zeros(1, 1, 3), slots([0, 1]), make_entry())


def with_confidence(confidence, mask=None, prompted=False):
    entry = make_entry(9, objects=len(confidence), prompted=prompted)
    entry.extras['confidence'] = torch.tensor([confidence])
    if mask is not None:
        entry.extras['mask'] = torch.tensor([mask])
    return entry


def test_minimum_confidence_looks_where_the_masks_are():
    memory = SlotMemory(2, FIFOSelector(), gates=[MinConfidence(0.7)])
    state = slots([0, 1])
    sure, unsure = [0.9, 0.9, 0.5, 0.5], [0.5, 0.5, 0.9, 0.9]
    covered = [1.0, 1.0, 0.0, 0.0]
    assert chosen(memory, state, with_confidence([sure], [covered])) == 0
    assert chosen(memory, state, with_confidence([unsure], [covered])) == 2
    assert chosen(memory, state, with_confidence([unsure], [covered], prompted=True)) == 0
    assert chosen(memory, state, with_confidence([unsure], [[0.0] * 4])) == 0  # on average .7
    assert chosen(memory, state, with_confidence([unsure])) == 0
    assert chosen(memory, state, with_confidence([0.9, 0.6])) == 0  # one number an object
    assert chosen(memory, state, with_confidence([0.7, 0.6])) == 2
    assert chosen(memory, state) == 0  # no score


def test_minimum_confidence_of_an_object_with_its_own_key():
    memory = SlotMemory(2, FIFOSelector(), gates=[MinConfidence(0.7)]).eval()
    state, _ = run(memory, [make_entry(i, objects=2, groups=2) for i in range(2)])
    entry = make_entry(5, objects=2, groups=2)
    entry.extras['confidence'] = torch.tensor([[0.9, 0.3]])
    assert memory.select(state, entry).argmax(-1).tolist() == [[0, 2]]


def test_every_n_stores_every_nth_frame_in_evaluation():
    memory = SlotMemory(3, FIFOSelector(), gates=[EmptyFirst(), EveryN(5)])
    history = held(memory, 16)
    assert history[4] == [-1, -1, 0]
    assert history[5] == history[9] == [-1, 0, 5]
    assert history[15] == [5, 10, 15]


def test_every_n_is_open_in_training():
    memory = SlotMemory(3, FIFOSelector(), gates=[EmptyFirst(), EveryN(5)]).train()
    state, _ = run(memory, [make_entry(i) for i in range(4)])
    assert sorted(state.written_at[0, 0].tolist()) == [1, 2, 3]


def test_every_n_refuses_nonsense():
    with pytest.raises(ValueError, match=r'EveryN\.n must be at least 1, got 0'):
        EveryN(0)


def test_minimum_novelty_compares_with_the_nearest_slot():
    memory = SlotMemory(2, FIFOSelector(), gates=[MinNovelty(0.05)])
    state = slots([0, 1])
    near = make_entry(0)
    noise = torch.randn(near.key.shape, generator=generator(3))
    assert chosen(memory, state, near) == 2
    assert chosen(memory, state, dataclasses.replace(near, key=near.key + 0.1 * noise)) == 2
    assert chosen(memory, state, dataclasses.replace(near, key=near.key + 2 * noise)) == 0
    assert chosen(memory, state, make_entry(7)) == 0
    assert chosen(memory, slots([-1, -1], step=0), near) == 0  # an empty memory holds nothing similar


def test_minimum_novelty_decides_for_each_sample():
    memory = SlotMemory(2, FIFOSelector(), gates=[MinNovelty(0.05)]).eval()
    state, _ = run(SlotMemory(2, FIFOSelector()).eval(), [make_entry(i, batch=2) for i in range(2)])
    entry = make_entry(5, batch=2)
    entry.key[1] = state.key[1, :, 1]
    assert memory.select(state, entry).argmax(-1).tolist() == [[0], [2]]


def test_skip_may_be_forbidden_or_charged():
    prefers_skip = Fixed(1.0, 0.5, 2.0)
    state = slots([0, 1])
    assert chosen(SlotMemory(2, prefers_skip, gates=[]), state) == 2
    assert chosen(SlotMemory(2, prefers_skip, gates=[Skip()]), state) == 2
    assert chosen(SlotMemory(2, prefers_skip, gates=[Skip(penalty=1.5)]), state) == 0
    assert chosen(SlotMemory(2, prefers_skip, gates=[Skip(allowed=False)]), state) == 0


@pytest.mark.parametrize('order', [1, -1])
def test_forbidding_to_skip_leaves_the_other_gates_their_say(order):
    """Skip(allowed=False) stores every frame that the other gates let through, and no other."""
    gates = [EmptyFirst(), KeepFirst(), EveryN(5), Skip(allowed=False)]
    gates = gates[:2] + gates[2:][::order]
    memory = SlotMemory(2, Fixed(9.0, 1.0, 0.0), gates=gates)
    assert chosen(memory, slots([0, 5], step=10)) == 1
    assert chosen(memory, slots([0, 5], step=11)) == 2


def test_gates_apply_in_order():
    """While a slot is empty EmptyFirst wins if it comes last, EveryN if that comes last."""
    state = slots([0, -1], step=3)
    assert chosen(SlotMemory(2, FIFOSelector(), gates=[EmptyFirst(), EveryN(5)]), state) == 2
    assert chosen(SlotMemory(2, FIFOSelector(), gates=[EveryN(5), EmptyFirst()]), state) == 1


def test_a_prompted_entry_is_stored_though_the_gates_bar_all():
    memory = SlotMemory(1, FIFOSelector(), gates=[EmptyFirst(), KeepFirst()])
    assert held(memory, 5)[-1] == [0]
    assert chosen(memory, slots([0])) == 1
    assert chosen(memory, slots([0]), make_entry(prompted=True)) == 0
    entries = [make_entry(i, prompted=i == 3) for i in range(5)]
    assert held(memory, entries=entries)[2:4] == [[0], [3]]


@pytest.mark.parametrize('gate', [EveryN(5), MinNovelty(2.1)])
@pytest.mark.parametrize('selector', [FIFOSelector, LIFOSelector])
def test_a_prompted_entry_passes_gates_of_time_but_not_those_that_protect(gate, selector):
    memory = SlotMemory(3, selector(), gates=[EmptyFirst(), KeepFirst(), gate])
    prompted = make_entry(9, prompted=True)
    assert chosen(memory, slots([0, -1, -1], step=3), prompted) == 1  # an empty slot first
    full = slots([0, 3, 5], step=7)
    assert chosen(memory, full, prompted) == (1 if selector is FIFOSelector else 2)  # and frame 0 stays
    assert chosen(memory, full, make_entry(9)) == 3


class OddFrames(Gate):
    """A gate of one's own that says itself when it is closed."""

    def forward(self, logits, state, entry):
        return logits

    def closed(self, state):
        return state.step % 2 == 0


def test_a_gate_says_itself_that_it_is_closed():
    """The memory asks every gate, whatever its class."""
    memory = SlotMemory(2, FIFOSelector(), gates=[EmptyFirst(), OddFrames()]).eval()
    state = memory.init(make_entry())
    wanted = []
    for step in range(4):
        wanted.append(memory.wants(state))
        state = memory.write(state, make_entry(step))
    assert wanted == [False, True, False, True]
    assert not any(gate().closed(state) for gate in (EmptyFirst, KeepFirst, MinNovelty, MinPresence, Skip))
    assert EveryN(3).eval().closed(state)
    with pytest.raises(NotImplementedError, match='Gate must implement forward'):
        Gate()(torch.zeros(1, 1, 3), state, make_entry())


class Closed(Gate):
    """A gate that bars every slot."""

    def forward(self, logits, state, entry):
        return torch.cat([torch.full_like(logits[..., :-1], float('-inf')), logits[..., -1:]], -1)


def test_where_the_gates_bar_all_the_selector_places_a_prompted_entry():
    memory = SlotMemory(2, Fixed(1.0, 2.0, 9.0), gates=[Closed()])
    assert chosen(memory, slots([0, 1]), make_entry()) == 2
    assert chosen(memory, slots([0, 1]), make_entry(prompted=True)) == 1
    learned = SlotMemory(2, GumbelSelector(3, 5, 4), gates=[Closed()]).train()
    choice = learned.select(slots([0, 1]), make_entry(prompted=True))
    assert choice.isfinite().all()
    assert choice[0, 0, 2] == 0


def test_a_prompted_entry_is_stored_by_a_selector_that_would_skip():
    memory = SlotMemory(2, Fixed(1.0, 2.0, 9.0), gates=[])
    assert chosen(memory, slots([0, 1])) == 2
    assert chosen(memory, slots([0, 1]), make_entry(prompted=True)) == 1
