"""A selector that knows the future of an episode, in the manner of Belady (IBM Systems Journal, 1966)."""

import torch
from torch import Tensor

from mmstremn.engine.recorded.episodes import Episode, gated, soft_j
from mmstremn.memory import Entry, Selector, SlotState
from mmstremn.models.segmentation.presence import PresenceHead

EVERY = 2  # of the positions, by which the future is judged


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
