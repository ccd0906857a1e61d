"""From masks to memory features: the memory encoder of a tracker.

The rules are those of transformers' ``Sam2VideoModel._encode_new_memory`` and EdgeTAM's.
"""

import torch
from torch import Tensor

from mmstremn.adapters.sam2.decoding import as_map, given_logits, resized
from mmstremn.adapters.sam2.families import Family
from mmstremn.adapters.sam2.outputs import Features, Masks


class MemoryFeatures:
    """Encodes masks with the modules of a tracker.

    Args:
        tracker: Of transformers.
        family: What its modules do differently.
    """

    def __init__(self, tracker, family: Family):
        self.tracker, self.family = tracker, family

    def __call__(self, output: Masks, features: Features, at_once: int | None = None) -> Tensor:
        """Memory features (O, P, C) of a frame, in the type in which they are stored.

        Args:
            output: The masks of O objects.
            features: Of the frame.
            at_once: Objects at a time; None: all.
        """
        places = list(range(len(output.low)))
        size = at_once or len(places)
        chunks = [places[start : start + size] for start in range(0, len(places), size)]
        return torch.cat([self._encode(chunk, output, features) for chunk in chunks])

    def _encode(self, places: list[int], output: Masks, features: Features) -> Tensor:
        tracker, config = self.tracker, self.tracker.config
        masks = torch.cat([self._mask(place, output) for place in places])
        masks = masks * config.sigmoid_scale_for_mem_enc + config.sigmoid_bias_for_mem_enc
        image = as_map(features.query.key, features.grid).expand(len(places), -1, -1, -1)
        encoded, position = tracker.memory_encoder(image, masks)
        occluded = tracker.occlusion_spatial_embedding_parameter
        if occluded is not None:
            absent = (output.score[places] <= 0).to(encoded.dtype)[:, None, None, None]
            encoded = encoded + absent * occluded[..., None, None]
        if hasattr(tracker, 'spatial_perceiver'):
            # transformers' perceiver takes one object at a time.
            flat = torch.cat([tracker.spatial_perceiver(one[None], position[:1])[0] for one in encoded])
        else:
            flat = encoded.flatten(2).transpose(1, 2)
        return flat.to(self.family.stored or flat.dtype)

    def _mask(self, place: int, output: Masks) -> Tensor:
        """(1, 1, H, W) in 0..1 at the size that the memory encoder reads."""
        size = self.tracker.image_size
        if place in output.given:
            logits = given_logits(output.given[place].to(output.low.dtype))
        else:
            logits = resized(output.low[place][None, None], (size, size), antialias=False)
        height, width = self.tracker.prompt_encoder.mask_input_size
        logits = resized(logits, (4 * height, 4 * width))
        binary = place in output.prompted or (output.prompted and self.family.prompt_binarizes_all)
        return (logits > 0).to(logits.dtype) if binary else logits.sigmoid()

    def position(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """(P, C): the position code of memory features, the same for every frame."""
        tracker = self.tracker
        shape = (1, tracker.mem_dim, *tracker.backbone_feature_sizes[-1])
        if not hasattr(tracker, 'spatial_perceiver'):
            return tracker.memory_encoder.position_encoding(shape, device, dtype).flatten(2)[0].T
        perceiver = tracker.spatial_perceiver
        side = round(perceiver.num_latents_2d**0.5)
        parts = [torch.zeros(perceiver.num_latents_1d, tracker.mem_dim, device=device, dtype=dtype)]
        if side:
            code = perceiver.positional_encoding((1, tracker.mem_dim, side, side), device, dtype)
            parts.append(code.flatten(2)[0].T)
        return torch.cat(parts)
