"""READMem's selector (Vujasinovic et al., BMVC 2023): a frame must make the slots more diverse."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmstremn.memory.slots.selectors import LAST_RESORT, Selector
from mmstremn.memory.slots.slot_state import SlotState
from mmstremn.memory.state import Entry

GAIN = 1e-4  # of the logarithm: less is rounding
LEAST = -100.0  # logarithms below it are as good as that of 0; -inf would stand for a barred slot
DIGITS = 5  # so that rounding noise does not choose between equal frames; as the public code does


class DiversitySelector(Selector):
    """Overwrites the slot whose replacement gives the slots' Gram matrix the largest ``|det|``.

    The frame is skipped if no replacement makes ``|det|`` larger: unlike other rules this one may prefer to
    skip. Checked against Vujas-Eteph/READMem, READMem_API/atomic_readmem.py and long_term_memory_handler.py.
    The similarity of two frames is the cosine of their whole keys, after each position of the newer has been
    given the best match (L2) of the older. That code also replaces on a tie, offers every 10th frame, never
    drops frame 0, and leaves out frames too unlike frame 0. The second and third are the gates EveryN(10) and
    KeepFirst; the last is no part of this rule. The Gram matrix is made anew at each write, O(S^2 P^2 Ck),
    with S P^2 affinities held at a time.
    """

    needs_keys = True

    @torch.no_grad()
    def forward(self, state: SlotState, entry: Entry) -> Tensor:
        """log ``|det|`` (B, G, S + 1) after the replacement of each slot, and a little more than as it is."""
        order = state.written_at.argsort(dim=-1, stable=True)
        oldest_first = state.key.gather(2, order[..., None, None].expand_as(state.key))
        volumes = log_volumes(gram(torch.cat([oldest_first, entry.key[:, :, None]], 2)))
        slots = torch.zeros_like(volumes[..., :-1]).scatter_(-1, order, volumes[..., :-1])
        slots = slots.masked_fill(state.written_at < 0, -LAST_RESORT)
        return torch.cat([slots, volumes[..., -1:] + GAIN], -1)


def gram(frames: Tensor) -> Tensor:
    """Similarities (B, G, N, N) of frames (B, G, N, P, Ck), the oldest first; float64, 1 on the diagonal."""
    number = frames.shape[2]
    with torch.autocast(frames.device.type, enabled=False):
        frames = frames.float()
        rows = [_similarity(frames[:, :, :newer], frames[:, :, newer]) for newer in range(number)]
    below = (
        torch.stack([F.pad(row, (0, number - row.shape[-1])) for row in rows], -2)
        .double()
        .round(decimals=DIGITS)
    )
    return below + below.transpose(-1, -2) + torch.eye(number, dtype=below.dtype, device=below.device)


def log_volumes(matrix: Tensor) -> Tensor:
    """log ``|det|`` (..., N) of a matrix (..., N, N) without its n-th row and column; at least -100."""
    index = torch.arange(matrix.shape[-1], device=matrix.device)
    kept = index[:-1] + (index[:-1] >= index[:, None])  # (N, N - 1): all but n
    minors = matrix[..., kept[:, :, None], kept[:, None, :]]
    return torch.linalg.slogdet(minors).logabsdet.clamp(min=LEAST).float()


def _similarity(older: Tensor, newer: Tensor) -> Tensor:
    """(B, G, N, P, Ck) and (B, G, P, Ck) to (B, G, N)."""
    affinity = 2 * newer[:, :, None] @ older.transpose(-1, -2) - older.square().sum(-1)[..., None, :]
    match = affinity.argmax(-1, keepdim=True)
    matched = older.gather(3, match.expand_as(older))
    return F.cosine_similarity(matched.flatten(3), newer.flatten(2)[:, :, None], dim=-1)
