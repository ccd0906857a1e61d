"""The loop that segmentation and prediction share: encode, read, decode, encode the value, write; once a
frame."""

from typing import Protocol

from torch import Tensor

from mmstremn.memory import Entry, Memory, MemoryState


class MemoryModel(Protocol):
    """What :func:`advance` needs of a model."""

    memory: Memory

    def decode(self, readout: Tensor, features):
        """The output of a frame from what was read."""

    def accept(self, output, given):
        """The output once what is given for the frame has its say; ``output`` is None on the first frame."""

    def encode_value(self, features, output, prompted: bool) -> Entry:
        """What the frame offers to the memory."""


def advance(
    model: MemoryModel,
    state: MemoryState | None,
    features,
    given=None,
    new_objects: int = 0,
    seeds: tuple[int, ...] | None = None,
    write: bool = True,
) -> tuple[object, MemoryState | None]:
    """One frame.

    Args:
        model: Segmentor or predictor.
        state: None on the first frame, which must be given.
        features: Of the frame, from the model's key encoder.
        given: What is known of the frame (masks of VOS, the observed frame of prediction), or None.
        new_objects: How many objects ``given`` adds.
        seeds: One per sample, for memories that draw.
        write: False leaves the frame out of the memory (the last frame of a training clip).

    Returns:
        The frame's output and the state after it.
    """
    output = None
    if state is not None:
        readout, state = model.memory.read(state, features.query)
        output = model.decode(readout, features)
        if new_objects:
            state = model.memory.add_objects(state, new_objects)
    if given is not None:
        output = model.accept(output, given)
    if not write:
        return output, state
    if given is None and not model.memory.wants(state):
        return output, model.memory.pass_over(state, getattr(output, 'decoded', None))
    entry = model.encode_value(features, output, prompted=given is not None)
    if state is None:
        state = model.memory.init(entry, seeds)
    return output, model.memory.write(state, entry)
