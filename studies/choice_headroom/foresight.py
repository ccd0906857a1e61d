"""What a choice could win: videos segmented by a rule, by one that sees the future, and with true masks in
the slots."""

import dataclasses
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmstremn.memory import Entry, FIFOSelector, MemoryState, SlotMemory, SlotState
from mmstremn.models import VOSegmentor
from mmstremn.models.key_encoder import FrameFeatures
from mmstremn.models.rollout import advance
from mmstremn.models.segmentation.given_masks import GivenMasks
from mmstremn.structures.video import Video
from studies.shared import repeat_entry, repeat_features

LEAST_GAIN = 1e-4  # of mean J, for which the far-sighted choice leaves the rule's


class DirectedFIFO(FIFOSelector):
    """A first-in-first-out selector whose next choice can be set from outside.

    Attributes:
        choice: One-hot (B, G, S + 1), taken once; None: as the rule says.
    """

    choice: Tensor | None = None

    def choose(self, logits: Tensor, state: SlotState) -> Tensor:
        """One-hot (B, G, S + 1)."""
        told, self.choice = self.choice, None
        return super().choose(logits, state) if told is None else told


class Frames:
    """The encoded frames of a video with their true masks; those used last are held.

    Args:
        model: On its device; the video is computed at its own size.
        video: Its objects are all prompted in frame 0.
        held: Frames.

    Raises:
        ValueError: An object is prompted later.
    """

    def __init__(self, model: VOSegmentor, video: Video, held: int):
        if set(video.prompts) != {0}:
            raise ValueError(
                f"video '{video.name}': expected prompts in frame 0 alone, got {sorted(video.prompts)}"
            )
        self.model, self.video, self.held = model, video, held
        self._encoded: OrderedDict[int, tuple[FrameFeatures, Tensor]] = OrderedDict()

    def __len__(self) -> int:
        return self.video.num_frames

    def __getitem__(self, index: int) -> tuple[FrameFeatures, Tensor]:
        """What the key encoder makes of a frame, and the planes of its true masks (1, O, H', W') bool."""
        if index not in self._encoded:
            self._encoded[index] = self._encode(index)
            if len(self._encoded) > self.held:
                self._encoded.popitem(last=False)
        return self._encoded[index]

    def _encode(self, index):
        device = next(self.model.parameters()).device
        frame = torch.as_tensor(np.ascontiguousarray(self.video.frame(index))).to(device)
        image = self.model.data_preprocessor.normalize(frame.permute(2, 0, 1)[None].float())
        mask = torch.as_tensor(np.ascontiguousarray(self.video.mask(index))).to(device)
        planes = torch.stack([mask == i for i in self.video.object_ids])[None]
        planes = F.pad(planes, self.model.data_preprocessor.margins(mask.shape))
        return self.model.encode_frame(image), planes


@torch.no_grad()
def segment(
    model: VOSegmentor, frames: Frames, horizon: int = 0, true_masks: bool = False
) -> Iterator[tuple[np.ndarray, bool]]:
    """Segment a video with a memory of slots whose selector is :class:`DirectedFIFO`.

    Args:
        model: In evaluation mode.
        frames: Of the video.
        horizon: At every choice each alternative that the gates leave is played this many frames forward, by
            the rule from then on, and the one with the best mean J of the truth is taken. 0: the rule
            chooses.
        true_masks: What is stored is made from the true masks instead of the predicted ones.

    Yields:
        For each frame its ids (H, W) uint8, and whether another choice was made than the rule's.
    """
    state = None
    for index in range(len(frames)):
        features, truth = frames[index]
        changed = False
        if state is None:
            output, state = advance(model, None, features, GivenMasks(truth), seeds=(0,))
        else:
            readout, state = model.memory.read(state, features.query)
            output = model.decode(readout, features)
            if model.memory.wants(state):
                stored = model.accept(None, GivenMasks(truth)) if true_masks else output
                entry = model.encode_value(features, stored, prompted=False)
                if horizon:
                    changed = _look_ahead(model, frames, index, state, entry, horizon)
                state = model.memory.write(state, entry)
            else:
                state = model.memory.pass_over(state)
        yield _ids(output.logits, frames.video), changed


def _ids(logits: Tensor, video: Video) -> np.ndarray:
    height, width = video.size
    table = np.array([0, *video.object_ids], np.uint8)
    return table[logits[0].argmax(0)[:height, :width].cpu().numpy()]


def _look_ahead(
    model: VOSegmentor, frames: Frames, index: int, state: SlotState, entry: Entry, horizon: int
) -> bool:
    """Tell the selector the best choice; whether it is another than its own."""
    memory: SlotMemory = model.memory
    own = int(memory.select(state, entry)[0, 0].argmax())
    logits = memory.selector(state, entry)
    for gate in memory.gates:
        logits = gate(logits, state, entry)
    alternatives = (logits[0, 0] > float('-inf')).nonzero()[:, 0].tolist()
    last = min(index + horizon, len(frames) - 1)
    if len(alternatives) < 2 or last == index:
        return False
    scores = _play(model, frames, range(index + 1, last + 1), state, entry, alternatives)
    best = int(scores.argmax())
    if scores[best] < scores[alternatives.index(own)] + LEAST_GAIN:
        return False
    memory.selector.choice = _one_hot([alternatives[best]], state)
    return alternatives[best] != own


def _one_hot(choices: list[int], state: SlotState) -> Tensor:
    """(B, 1, S + 1)."""
    choices = torch.tensor(choices, device=state.hits.device)
    return F.one_hot(choices, state.num_slots + 1)[:, None].to(state.hits.dtype)


def _play(model, frames, steps: range, state: SlotState, entry: Entry, alternatives: list[int]) -> Tensor:
    """(B,) mean J over the steps, one row of a batch for each alternative."""
    rows = len(alternatives)
    state, scores = _repeated(state, rows), 0
    model.memory.selector.choice = _one_hot(alternatives, state)
    state = model.memory.write(state, repeat_entry(entry, rows))
    for step in steps:
        features, truth = frames[step]
        features = repeat_features(features, rows)
        readout, state = model.memory.read(state, features.query)
        output = model.decode(readout, features)
        scores = scores + _mean_j(output.logits, truth)
        if step == steps[-1]:
            return scores / len(steps)
        if model.memory.wants(state):
            state = model.memory.write(state, model.encode_value(features, output, prompted=False))
        else:
            state = model.memory.pass_over(state)


def _mean_j(logits: Tensor, truth: Tensor) -> Tensor:
    """(B,) from logits (B, 1 + O, H', W') and the planes of the truth (1, O, H', W')."""
    predicted = logits.argmax(1, keepdim=True) == torch.arange(1, logits.shape[1], device=logits.device).view(
        1, -1, 1, 1
    )
    both, either = (predicted & truth).sum((2, 3)), (predicted | truth).sum((2, 3))
    return torch.where(either > 0, both / either.clamp(min=1), 1.0).mean(
        1
    )  # 1 for what is away and not predicted


def _repeated(state: MemoryState, rows: int) -> MemoryState:
    """A fork of a state of one sample, as a batch."""
    state = state.map(lambda tensor: tensor.repeat(rows, *[1] * (tensor.dim() - 1)))
    return dataclasses.replace(state, seeds=None if state.seeds is None else state.seeds * rows)
