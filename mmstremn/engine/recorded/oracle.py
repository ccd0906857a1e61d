"""Memories that know the future of an episode, in the manner of Belady (IBM Systems Journal, 1966)."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from mmstremn.engine.recorded.episodes import Episode, Run, gated, run_episode, soft_j
from mmstremn.memory import EmptyFirst, Entry, Selector, SlotMemory, SlotState
from mmstremn.models.segmentation.presence import PresenceHead

EVERY = 2  # of the positions, by which the future is judged
Made = TypeVar('Made')
GONE = 10.0  # by which frames of no future use give way


class OracleSelector(Selector):
    """Of what it may hold it keeps what serves the future frames best.

    Greedy: each alternative (one of the slots, or the new frame, is dropped) is read by the first frame of
    every shot to come, and by the next frame of this one; the score is the J of these readouts with the true
    masks, each counted as often as its shot has frames left, and balanced as in ``Run``. What is stored
    until then is not foreseen, so it is no upper bound: an object that is found again can be stored again.

    Attributes:
        episode: Set by ``run_episode``.
        presence: Likewise.
    """

    episode: Episode | None = None
    presence: PresenceHead | None = None

    def forward(self, state: SlotState, entry: Entry) -> Tensor:
        """Minus what is lost (1, 1, S + 1)."""
        assert self.episode is not None
        logits = torch.zeros(1, 1, state.num_slots + 1)
        if (state.written_at >= 0).all():
            logits[0, 0] = future_scores(self.episode, state, entry, self.presence)
        return logits


def future_points(episode: Episode, step: int) -> list[tuple[int, int]]:
    """The steps at which what is held is judged after ``step``, and how many frames each stands for."""
    points = []
    for start, length in episode.shots:
        if start > step:
            points.append((start, length))
        elif start + length - 1 > step:
            points.append((step + 1, start + length - 1 - step))
    return points


@torch.no_grad()
def future_scores(
    episode: Episode, state: SlotState, entry: Entry, presence: PresenceHead | None = None
) -> Tensor:
    """(S + 1,): the mean J of the future if a slot, or the entry (last), is dropped.

    -inf where an object would be left without any frame. All slots are filled.
    """
    stamps = torch.cat([state.written_at[0, 0], torch.tensor([state.step])])
    value = torch.cat([state.value[0, ..., 0], entry.value[0, :, None, :, 0]], 1)  # (O, S + 1, P)
    births = torch.tensor(state.births)
    kept = ~torch.eye(len(stamps), dtype=torch.bool)
    usable = kept[:, None] & (stamps >= births[:, None])  # (S + 1, O, S + 1)
    lost = ~usable.any(-1).all(-1)
    usable[lost] = True  # read like any other, not chosen
    shown = episode.truth[:, : len(births)].any(-1)  # (T, O)
    share = torch.stack([~shown, shown]).float().mean(1).clamp(min=1 / len(shown))  # away, there
    total = torch.zeros(len(stamps))
    for step, length in future_points(episode, state.step):
        labels, _, distance = episode.read(step, stamps, value, usable, EVERY)
        labels, _ = gated(labels, distance, presence)
        weight = length / share.gather(0, shown[step][None].long())[0] / 2 / len(shown)
        scores = soft_j(labels, episode.truth[step, : len(births), ::EVERY])
        total += (weight * scores).mean(-1)
    return total.masked_fill(lost, float('-inf'))


class PlannedSelector(Selector):
    """Drops the frame of the least priority in a plan that was made beforehand.

    A frame whose objects are not shown again gives way to all others.

    Args:
        priority: (T,) of each step of the episode, below ``GONE``.
        last_use: (T,) the last step that shows an object of that step, -1 where a step shows none.
    """

    def __init__(self, priority: Tensor, last_use: Tensor):
        super().__init__()
        self.priority, self.last_use = priority, last_use

    def forward(self, state: SlotState, entry: Entry) -> Tensor:
        """Minus the priorities (1, 1, S + 1)."""
        stamps = torch.cat([state.written_at[0, 0], torch.tensor([state.step])]).clamp(min=0)
        gone = self.last_use[stamps] <= state.step
        return (GONE * gone - self.priority[stamps])[None, None]


def search_plan(
    slots: int,
    episode: Episode,
    presence: PresenceHead | None = None,
    tries: int = 30,
    seed: int = 0,
    true_masks: bool = False,
) -> Run:
    """The best run that a random search over plans finds: what a memory that knows the future attains.

    The episode itself is run with each plan, with all that is fed back, so it is attained, not estimated. The
    search starts with prompts first and then the newest, and with prompts first and then the oldest; each try
    draws the priorities of two frames anew and is kept if it is no worse.

    Args:
        slots: How many.
        episode: An edited video.
        presence: See ``run_episode``.
        tries: Plans after the first two.
        seed: Of the search.
        true_masks: See ``run_episode``.
    """
    shown, births = episode.truth.any(-1), list(episode.births)

    def run(selector: PlannedSelector) -> Run:
        memory = SlotMemory(slots, selector, gates=[EmptyFirst()]).eval()
        return run_episode(memory, episode, presence, true_masks=true_masks)

    return random_search(run, lambda made: made.balanced, shown, births, tries, seed)


def last_use(shown: Tensor) -> Tensor:
    """(T,) the last step that shows an object of each step, -1 where it shows none; ``shown`` is (T, O)."""
    last = (shown * torch.arange(len(shown))[:, None]).amax(0)  # (O,)
    return last.masked_fill(~shown, -1).amax(1)


def random_search(
    run: Callable[[PlannedSelector], Made],
    value: Callable[[Made], float],
    shown: Tensor,
    prompts: list[int],
    tries: int,
    seed: int,
) -> Made:
    """The best of what ``run`` makes of plans, searched for as :func:`search_plan` says.

    Args:
        run: Runs an episode with a plan.
        value: Of what it makes, the larger the better.
        shown: (T, O) bool: the step shows the object.
        prompts: The steps with prompts.
        tries: Plans after the first two.
        seed: Of the search.
    """
    last, step = last_use(shown), torch.arange(len(shown))
    newest = step / len(shown)
    found = []
    for priority in (newest, 1 - newest):
        priority = priority.clone()
        priority[prompts] += 1
        found.append((run(PlannedSelector(priority, last)), priority))
    best, plan = max(found, key=lambda pair: value(pair[0]))
    frames = (last > step).nonzero()[:, 0]
    generator = torch.Generator().manual_seed(seed)
    for _ in range(tries):
        trial = plan.clone()
        changed = frames[torch.randint(len(frames), (2,), generator=generator)]
        trial[changed] = 2 * torch.rand(2, generator=generator)
        made = run(PlannedSelector(trial, last))
        if value(made) >= value(best):
            best, plan = made, trial
    return best
