"""A few frames as nodes of a graph that exchange messages with the query before it is answered: EGM."""

import dataclasses
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.memory.base import Memory
from mmstremn.memory.buffers import by_object, side_by_side
from mmstremn.memory.published.cohorts import CohortState
from mmstremn.memory.readers import DenseReader
from mmstremn.memory.state import Entry, Query

FIRST, LAST, SPREAD = 0, 1, 2  # slots: the first frame, the previous one, and from there on those between
EMPTY = -1


@dataclass
class GraphState(CohortState):
    """The nodes of every cohort; those in use come first.

    Attributes:
        frames: K * S steps, cohort by cohort: the frame that each node holds, -1 where empty.
        strides: For each cohort the distance between the frames that its nodes in between are collecting.
    """

    frames: tuple[int, ...] = ()
    strides: tuple[int, ...] = (1,)

    @property
    def held(self) -> list[tuple[int, ...]]:
        """``frames`` by cohort."""
        size = self.key.shape[2]
        return [self.frames[start : start + size] for start in range(0, len(self.frames), size)]

    def add_objects(self, number: int, own_keys: bool = False) -> Self:
        """As in :class:`CohortState`; a new cohort has no nodes in use."""
        state = super().add_objects(number)
        new = state.key.shape[1] - self.key.shape[1]
        frames = self.frames + (EMPTY,) * (new * self.key.shape[2])
        return dataclasses.replace(state, frames=frames, strides=self.strides + (1,) * new)

    def remove_objects(self, indices: Collection[int], own_keys: bool = False) -> Self:
        """As in :class:`CohortState`; the nodes of cohorts without objects go too."""
        kept = self.cohorts_without(indices)
        frames = tuple(frame for index in kept for frame in self.held[index])
        strides = tuple(self.strides[index] for index in kept)
        return dataclasses.replace(super().remove_objects(indices), frames=frames, strides=strides)


class PointGRU(nn.Module):
    """A gated recurrent unit at every position by itself: a ConvGRU with 1 x 1 kernels, as EGM's.

    Args:
        channels: C of the message and of the state.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.gates = nn.Linear(2 * channels, 2 * channels)
        self.candidate = nn.Linear(2 * channels, channels)

    def forward(self, message: Tensor, state: Tensor) -> Tensor:
        """The new state (..., C) from a message (..., C) and the state (..., C)."""
        update, reset = self.gates(torch.cat([message, state], -1)).sigmoid().chunk(2, -1)
        candidate = self.candidate(torch.cat([message, reset * state], -1)).tanh()
        return state + update * (candidate - state)


class GraphMemory(Memory[GraphState]):
    """Nodes are the first frame, the previous one, and between them frames spread evenly over the past.

    EGM (Lu et al., "Video Object Segmentation with Episodic Graph Memory Networks", ECCV 2020), checked
    against carrierlxk/GraphMemVOS models/graph_memory.py and models/units/ConvGRU2.py. In every step of a
    read each node gathers from each other one by an attention of its own (bilinear in the keys), the sum
    passes a 1 x 1 convolution and updates the node with a GRU; then the query reads all nodes and its own GRU
    takes the readout in. The answer is the query's state after the last step. The stored nodes stay as
    written: messages live for one read.

    This library's own: keys are shared by all objects, so one set of edges serves all of them; the query
    reads with L2, as shared keys need; edges are divided by sqrt(Ck); the query begins as its first readout
    (there: as the frame's own value); the frames in between are chosen in a stream of unknown length (there:
    picked from all past frames, which are kept and encoded anew), and a prompted frame is chosen like any
    other. The public code forgets the nodes' updates at every step, so that only the query's GRU matters;
    here they last for the read.

    Args:
        num_nodes: S, at least 2.
        steps: Message passing steps of a read; the public code takes 5.
        key_channels: Ck.
        value_channels: Cv.

    Raises:
        ValueError: ``num_nodes`` or ``steps`` is too small.
    """

    state_class = GraphState

    def __init__(self, num_nodes: int = 6, steps: int = 3, key_channels: int = 64, value_channels: int = 256):
        super().__init__()
        if num_nodes < 2:
            raise ValueError(f'GraphMemory.num_nodes must be at least 2, got {num_nodes}')
        if steps < 1:
            raise ValueError(f'GraphMemory.steps must be at least 1, got {steps}')
        self.num_nodes, self.steps = num_nodes, steps
        self.reader = DenseReader()
        self.edge = nn.Linear(key_channels, key_channels, bias=False)
        self.fuse = nn.Linear(value_channels, value_channels)
        self.update_node = PointGRU(value_channels)
        self.update_query = PointGRU(value_channels)

    def init(self, entry: Entry, seeds: tuple[int, ...] | None = None) -> GraphState:
        """Empty nodes; ``seeds`` are not used."""
        return GraphState.with_slots(entry, self.num_nodes, seeds, frames=(EMPTY,) * self.num_nodes)

    def read(self, state: GraphState, query: Query) -> tuple[Tensor, GraphState]:
        """The readout (B, O, P, Cv); reading leaves no trace."""
        readouts = []
        for index, ((_, members), held) in enumerate(zip(state.cohorts, state.held, strict=True)):
            used = len(held) - held.count(EMPTY)
            readouts.append(self._reason(query, state.key[:, index, :used], state.value[:, members, :used]))
        return torch.cat(readouts, 1).to(state.value.dtype), state

    def _reason(self, query: Query, key: Tensor, value: Tensor) -> Tensor:
        """The answer (B, M, P, Cv) for M objects from N nodes.

        Their keys are (B, N, P, Ck), their values (B, M, N, P, Cv).
        """
        with torch.autocast(key.device.type, enabled=False):
            key, nodes = key.float(), value.float()
            everyone = torch.cat([key, query.key.float()[:, None]], 1)
            answer = self._summary(query, key, nodes)
            for _ in range(self.steps):
                # (B, M, N, P, Cv): each node hears the others and the query, then the query reads the nodes
                message = self.fuse(self._messages(everyone, torch.cat([nodes, answer[:, :, None]], 2)))
                nodes = self.update_node(message, nodes)
                answer = self.update_query(self._summary(query, key, nodes), answer)
        return answer

    def _summary(self, query: Query, key: Tensor, nodes: Tensor) -> Tensor:
        """What the query reads from all nodes: (B, M, P, Cv)."""
        usable = torch.ones(key.shape[0], 1, key.shape[1], dtype=torch.bool, device=key.device)
        readout, _ = self.reader(query, key[:, None], None, side_by_side(nodes)[:, None], usable)
        return by_object(readout[:, 0], nodes.shape[1])

    def _messages(self, key: Tensor, states: Tensor) -> Tensor:
        """What each node gathers from the others and from the query, which is the last of (B, N + 1, ...).

        Args:
            key: (B, N + 1, P, Ck).
            states: (B, M, N + 1, P, Cv).

        Returns:
            (B, M, N, P, Cv).
        """
        asked, sent = self.edge(key) / math.sqrt(key.shape[-1]), side_by_side(states)
        received = []
        for node in range(key.shape[1] - 1):
            asking = key[:, node, None].expand(-1, key.shape[1] - 1, -1, -1)
            edges = F.scaled_dot_product_attention(
                asking, _without(asked, node), _without(sent, node), scale=1.0
            )
            received.append(by_object(edges.sum(1), states.shape[1]))
        return torch.stack(received, 2)

    def write(self, state: GraphState, entry: Entry) -> GraphState:
        """The entry becomes the previous frame. Without gradients the nodes of ``state`` are changed."""
        key, value = state.writable()
        frames: list[int] = []
        strides: list[int] = []
        for index, ((birth, members), nodes, stride) in enumerate(
            zip(state.cohorts, state.held, state.strides, strict=True)
        ):
            held, slot = list(nodes), FIRST if state.step == birth else LAST
            if held[LAST] != EMPTY:
                middle = [frame if frame == EMPTY else frame - birth for frame in held[SPREAD:]]
                place, stride = spread(middle, stride, held[LAST] - birth)
                if place is not None:
                    place += SPREAD
                    key[:, index, place], value[:, members, place] = (
                        key[:, index, LAST],
                        value[:, members, LAST],
                    )
                    held[place] = held[LAST]
            key[:, index, slot], value[:, members, slot] = entry.key[:, 0], entry.value[:, members]
            held[slot] = state.step
            frames += held
            strides.append(stride)
        return dataclasses.replace(
            state, key=key, value=value, frames=tuple(frames), strides=tuple(strides), step=state.step + 1
        )


def spread(held: list[int], stride: int, frame: int) -> tuple[int | None, int]:
    """Where a frame goes so that the frames held stay spread evenly over the past, however long it grows.

    Multiples of the stride are collected. Once all places hold one the stride doubles, and multiples of the
    new stride take the places of the other frames, the oldest first.

    Args:
        held: Frames by place, counted from the first of the video; -1 where empty. Places fill in order.
        stride: Distance of the frames that are collected, 1 in the beginning.
        frame: Later than all that are held.

    Returns:
        The frame's place, or None, and the stride from now on.
    """
    if EMPTY in held:
        return held.index(EMPTY), stride
    if frame % stride or not held:
        return None, stride
    if not any(other % stride for other in held):
        stride *= 2
    if frame % stride:
        return None, stride
    return held.index(min(other for other in held if other % stride)), stride


def _without(tensor: Tensor, index: int) -> Tensor:
    """(B, N, ...) without one of N."""
    return torch.cat([tensor[:, :index], tensor[:, index + 1 :]], 1)
