"""The steps of a frame as modules whose inputs and outputs are tensors alone, for exporters.

Each calls the model's own parts. Only reading is written anew: the blocks and lookups of the readers have no
counterpart in ONNX.
"""

import copy

import torch
from torch import Tensor, nn

from mmstremn.memory import Entry, Query
from mmstremn.memory.affinity import L2Affinity
from mmstremn.memory.readers import MASKED, DenseReader, TopKReader
from mmstremn.memory.slots.gates import EveryN
from mmstremn.memory.slots.slot_memory import SlotMemory
from mmstremn.memory.slots.slot_state import SlotState
from mmstremn.models.key_encoder import FrameFeatures
from mmstremn.models.segmentation.encoders import masks_of_others
from mmstremn.models.segmentation.segmentor import VOSegmentor


class KeyGraph(nn.Module):
    """A frame (1, 3, H, W), normalised and padded, to its key and maps."""

    def __init__(self, model: VOSegmentor):
        super().__init__()
        self.key_encoder = model.key_encoder

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """The key (1, P, Ck), of an anisotropic affinity selection (1, P, Ck) and shrinkage (1, P), and the
        maps, coarsest first."""
        features = self.key_encoder(image)
        some = features.query.key, features.query.selection, features.shrinkage
        return (*(tensor for tensor in some if tensor is not None), *features.maps)


class ReadGraph(nn.Module):
    """Reads objects that were born at the same step.

    Args:
        reader: A DenseReader or TopKReader.
        names: Of the inputs, in their order: ``query`` (1, P, Ck), ``key`` (1, G, S, P, Ck), ``value`` (1, O,
            S, P, Cv), where O is G, or any number where G is 1, ``usable`` (1, G, S) bool, slots that hold a
            value of these objects; for presence heads ``written`` (1, G, S) bool, slots that hold a frame;
            for anisotropic affinities ``selection`` (1, P, Ck), ``slot_shrinkage`` (1, G, S, P).
    """

    def __init__(self, reader: DenseReader, names: list[str]):
        super().__init__()
        self.reader, self.names = reader, names
        self.k = reader.k if isinstance(reader, TopKReader) else 0

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Readout (1, O, P, Cv), shares of the attention (1, G, S), and with ``written`` the distance (1, G,
        P) of ``Memory.distance``."""
        given = dict(zip(self.names, tensors, strict=True))
        query, key, usable = given['query'], given['key'], given['usable']
        asked = Query(query, given.get('selection'))
        logits = self.reader.logits(asked, key, given.get('slot_shrinkage'))  # (1, G, P, S, P)
        read = self._read_top if self.k else self._read_all
        found = read((logits + _mask(usable)[:, :, None, :, None]).flatten(3), given['value'], key.shape[2])
        if 'written' not in given:
            return found
        if type(self.reader.affinity) is not L2Affinity:
            logits = DenseReader().logits(Query(query), key, None)
        nearest = (logits + _mask(given['written'])[:, :, None, :, None]).amax((-2, -1))
        squares = query.square().sum(-1).unsqueeze(1) / query.shape[-1] ** 0.5
        return (*found, (squares - nearest).clamp(min=0))

    def _read_all(self, logits: Tensor, value: Tensor, slots: int) -> tuple[Tensor, Tensor]:
        weight = logits.softmax(-1)  # (1, G, P, S * P)
        return weight @ value.flatten(2, 3), weight.unflatten(-1, (slots, -1)).sum(-1).mean(2)

    def _read_top(self, logits: Tensor, value: Tensor, slots: int) -> tuple[Tensor, Tensor]:
        positions = logits.shape[2]
        top, index = logits.topk(self.k, -1)
        weight = top.softmax(-1)  # (1, G, P, k)
        in_slot = (index // positions)[..., None] == torch.arange(slots)
        share = (weight[..., None] * in_slot).sum(3).mean(2)
        rows = value[0].flatten(1, 2)  # (O, S * P, Cv)
        objects = torch.arange(rows.shape[0])[:, None, None]
        chosen = rows[objects, index[0]]  # (O, P, k, Cv)
        return (weight[0][:, :, None] @ chosen).squeeze(2)[None], share


def _mask(usable: Tensor) -> Tensor:
    """0 where usable, elsewhere so low that softmax gives 0."""
    return torch.where(usable, 0.0, MASKED)


class DecodeGraph(nn.Module):
    """Readouts of all objects and the frame's maps to masks.

    Args:
        model: Its decoder and presence head.
        maps: How many maps it takes.
    """

    def __init__(self, model: VOSegmentor, maps: int):
        super().__init__()
        self.model, self.maps = model, maps

    def forward(self, readout: Tensor, image: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        """Decode.

        Args:
            readout: (1, O, h, w, Cv).
            image: (1, 3, H, W), whose size the masks have.
            more: The maps (1, C, H / s, W / s), and the distance (1, G, h, w) for a presence head.

        Returns:
            Logits (1, 1 + O, H, W), their softmax, and with a presence head the probabilities (1, O) that the
            objects are visible.
        """
        features = FrameFeatures(image, more[: self.maps], Query(readout), None)
        if self.model.presence is not None:
            features.distance = more[-1].flatten(2)
        output = self.model.decode(readout.flatten(2, 3), features)
        found = output.logits, output.logits.softmax(1)
        return found if output.presence is None else (*found, output.presence.sigmoid())


class ValueGraph(nn.Module):
    """The values of a frame and its masks."""

    def __init__(self, model: VOSegmentor):
        super().__init__()
        self.encoder = model.value_encoder

    def forward(self, image: Tensor, masks: Tensor, feature: Tensor) -> tuple[Tensor, ...]:
        """Encode.

        Args:
            image: (1, 3, H, W).
            masks: (1, O, H, W) probabilities.
            feature: (1, C, h, w), the coarsest map of the frame.

        Returns:
            Value (1, O, P, Cv), and the objects' own keys (1, O, P, Ck) where they have some.
        """
        value, key = self.encoder(image, masks, masks_of_others(masks), feature)
        return (value,) if key is None else (value, key)


class SelectGraph(nn.Module):
    """The slot that a frame overwrites, of a SlotMemory. ``EveryN`` is left to the runner.

    Args:
        memory: Its selector and gates.
        names: Of the inputs, in their order: tensors of ``SlotState`` and ``step``, a scalar; ``new_key`` (1,
            G, P, Ck) and ``new_value`` (1, O, P, Cv) of the entry, and ``presence`` (1, O) where it has that.
        prompted: The frame has masks of the user.
    """

    def __init__(self, memory: SlotMemory, names: list[str], prompted: bool):
        super().__init__()
        self.names, self.prompted = names, prompted
        self.memory = copy.copy(memory)
        self.memory._modules = dict(memory._modules)
        self.memory.gates = nn.ModuleList(gate for gate in memory.gates if not isinstance(gate, EveryN))

    def forward(self, *tensors: Tensor) -> Tensor:
        """(1, G) long: the slot, or S for none."""
        given = dict(zip(self.names, tensors, strict=True))
        key, value = given.pop('new_key'), given.pop('new_value')
        extras = {name: given.pop(name) for name in ('presence',) if name in given}
        state = SlotState(births=(), grid=(0, 0), shrinkage=None, **given)
        return self.memory.logits(state, Entry(key, value, (0, 0), None, self.prompted, extras)).argmax(-1)
