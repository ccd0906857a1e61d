"""The loop of a frame (encode, read, decode, encode the value, write) and the loop over a clip's frames.

Segmentation, prediction, the token classifier and the adapters share both.
"""

import logging
import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Protocol, cast

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmstremn.memory import Entry, Memory, MemoryState
from mmstremn.models.gradient_watch import GradientWatch


class MemoryModel(Protocol):
    """What :func:`advance` needs of a model."""

    memory: Memory

    def decode(self, readout: Tensor, features: Any) -> Any:
        """The output of a frame from what was read."""

    def accept(self, output: Any, given: Any) -> Any:
        """The output in which what is given overrides; ``output`` is None on the first frame."""

    def encode_value(self, features: Any, output: Any, prompted: bool) -> Entry:
        """What the frame offers to the memory."""


class MaskModel(MemoryModel, Protocol):
    """What :func:`advance` needs beside it of a model whose memory follows masks."""

    def covered(self, features: Any, output: Any) -> Tensor:
        """(B, O, P) share of each position that the object covers."""


class Clip(Protocol):
    """T frames that :func:`run_clip` runs through a model; it collects what is kept of their outputs."""

    @property
    def length(self) -> int:
        """T."""

    def frame(self, index: int) -> tuple[Any, Any]:
        """The features of a frame, and what is given for it or None."""

    def take(self, output: Any) -> None:
        """The output of the frame that was asked for last."""


def advance(
    model: MemoryModel,
    state: MemoryState | None,
    features: Any,
    given: Any = None,
    new_objects: int = 0,
    seeds: tuple[int, ...] | None = None,
    write: bool = True,
    clip_length: int | None = None,
) -> tuple[Any, MemoryState | None]:
    """One frame.

    Args:
        model: Segmentor or predictor.
        state: None on the first frame, which must be given.
        features: Of the frame, from the model's key encoder.
        given: What is known of the frame (masks of VOS, the observed frame of prediction), or None.
        new_objects: How many objects ``given`` adds.
        seeds: One per sample, for memories that draw.
        write: False leaves the frame out of the memory (the last frame of a training clip).
        clip_length: Frames of the clip that begins here; the memory gets it in the first entry's extras.

    Returns:
        The frame's output and the state after it.
    """
    output = None
    if state is not None:
        readout, state = model.memory.read(state, features.query)
        if getattr(model, 'reads_tokens', False):
            features = replace(features, tokens=model.memory.object_tokens(state))
        if getattr(model, 'presence', None) is not None:  # the read has found most of the distance
            features = replace(features, distance=model.memory.distance(state, features.query))
        output = model.decode(readout, features)
        if new_objects:
            state = model.memory.add_objects(state, new_objects)
    if given is not None:
        output = model.accept(output, given)
    if not write:
        return output, state
    if given is None and state is not None and not model.memory.wants(state):
        masks = cast(MaskModel, model)
        followed = dict(mask=masks.covered(features, output)) if model.memory.follows_masks else {}
        return output, model.memory.pass_over(state, getattr(output, 'decoded', None), **followed)
    entry = model.encode_value(features, output, prompted=given is not None)
    if state is None:
        if clip_length is not None:
            entry.extras['clip_length'] = clip_length
        state = model.memory.init(entry, seeds)
    return output, model.memory.write(state, entry)


def run_clip(
    model: MemoryModel,
    clip: Clip,
    seeds: tuple[int, ...] | None = None,
    watch: Callable[[MemoryState], object] | None = None,
) -> dict[str, Tensor]:
    """All frames of a clip, of which the last is read but not written.

    Args:
        model: Segmentor or predictor.
        clip: Gets the outputs.
        seeds: One per sample, for memories that draw.
        watch: Called with the memory's state after every frame.

    Returns:
        What the memory adds to the loss, by name.
    """
    state, last = None, clip.length - 1
    for index in range(clip.length):
        features, given = clip.frame(index)
        output, state = advance(
            model, state, features, given, seeds=seeds, write=index < last, clip_length=clip.length
        )
        clip.take(output)
        if watch is not None and state is not None:
            watch(state)
    return {} if state is None else finish_clip(model, state, clip.length)


def finish_clip(model: MemoryModel, state: MemoryState, length: int) -> dict[str, Tensor]:
    """What the memory adds to the loss of a clip of ``length`` frames after its last one, by name.

    The first training clip of a memory also logs which of its parts such clips do not train, as the memory
    knows; after ``WATCHED_PASSES`` backward passes the parameters that got no gradient are logged.
    """
    if model.memory.training and torch.is_grad_enabled():
        _look_for_untrained(model, state, length)
    return model.memory.penalty(state)


@torch.compiler.disable
def _look_for_untrained(model: MemoryModel, state: MemoryState, length: int) -> None:
    memory = model.memory
    if memory not in _watches:
        _watches[memory] = GradientWatch(cast(torch.nn.Module, model))
        for part, reason in memory.untrained_parts(state).items():
            _warn(
                f'{type(memory).__name__}: clips of {length} frames give its {part} no gradient, it does not '
                f'learn: {reason}. Train with longer clips or fewer slots, or freeze it.'
            )
    watch = _watches[memory]
    if watch is None or watch.passes < WATCHED_PASSES:
        return
    _watches[memory] = None
    watch.close()
    reached = watch.pop()
    trained = [name for name, parameter in memory.named_parameters() if parameter.requires_grad]
    dead = [name for name in trained if f'memory.{name}' not in reached]
    if dead:
        _warn(
            f'{type(memory).__name__}: {len(dead)} of its {len(trained)} trainable parameters got no '
            f'gradient in the first {watch.passes} backward passes (clips of {length} frames), they do not '
            'learn: '
            f'{", ".join(dead)}. Train with longer clips, or freeze them.'
        )


def _warn(message: str) -> None:
    print_log(message, 'current', logging.WARNING)


WATCHED_PASSES = 3  # by then a gradient is past what begins at zero
_watches: weakref.WeakKeyDictionary[Memory, GradientWatch | None] = weakref.WeakKeyDictionary()


def seeds_of(data_samples: Iterable | None) -> tuple[int, ...] | None:
    """The samples' ``sample_seed``; None if one of them has none."""
    seeds = tuple(sample.get('sample_seed', None) for sample in data_samples or ())
    return None if not seeds or None in seeds else seeds
