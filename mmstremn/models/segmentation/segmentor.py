"""Semi-supervised video object segmentation with a pluggable memory."""

import dataclasses
import logging
from contextlib import AbstractContextManager, nullcontext
from difflib import get_close_matches

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor

from mmstremn.memory import Entry
from mmstremn.models.clip_model import ClipModel
from mmstremn.models.key_encoder import FrameFeatures, KeyEncoder, decreasing_strides
from mmstremn.models.layers import size_of
from mmstremn.models.segmentation.clip import MaskClip, stack_masks
from mmstremn.models.segmentation.decoders import Segmentation, aggregate, decoder_of_frame
from mmstremn.models.segmentation.encoders import masks_of_others, value_encoder_of_frame
from mmstremn.models.segmentation.given_masks import GivenMasks
from mmstremn.models.segmentation.inference import predict_video
from mmstremn.models.segmentation.losses import presence_loss
from mmstremn.models.segmentation.merged_stream import MergedStream, variants_of
from mmstremn.models.segmentation.object_chunks import ObjectChunks
from mmstremn.models.segmentation.preprocessor import build_preprocessor
from mmstremn.models.segmentation.stream import VOSStream
from mmstremn.registry import MODELS, build
from mmstremn.similar import did_you_mean
from mmstremn.structures import VOSDataSample


@MODELS.register_module()
class VOSegmentor(ClipModel):
    """A space-time memory network: key encoder, memory, value encoder, mask decoder.

    STReMN (arXiv 2109.06474) with ``SlotMemory`` and ``GumbelSelector``, STM and STCN with ``GrowingMemory``,
    and so on.

    Args:
        backbone: Config of the key encoder's backbone. Its ``strides`` (16, 8, 4 by default), decreasing
            powers of 2, are those of the maps that the decoder refines with; the first is that of the
            memory's grid.
        memory: Config; parts that name ``key_channels``, ``value_channels`` or ``decoder_channels`` get the
            model's.
        value_backbone: Config of the value encoder's backbone; 5 input channels and the memory's stride are
            filled in.
        value_encoder: Config of the value encoder; its backbone and widths are filled in.
        decoder: Config of the mask decoder; its ``channels`` are one width for each stride of the backbone;
            the widths it reads are filled in.
        loss: Config.
        key_channels: Ck.
        value_channels: Cv.
        frozen: Names of parts that do not learn and stay in evaluation mode, such as ``'memory.selector'``;
            a part that only another memory has is left out, with a warning.
        short_side: Rows (or columns, if fewer) at which videos are computed in ``predict`` and in streams;
            frames are never enlarged. None: their own size.
        objects_at_once: Values and masks are computed of this many objects at a time; None: of all, and in
            evaluation of fewer where that is faster (large frames on CPUs) or the GPU's memory does not
            suffice.
        data_preprocessor: Config; frames are padded to multiples of the memory's stride, or of what the
            backbones need.
        init_cfg: As in mmengine.
        test_time: ``flip`` (True: also mirrored) and ``short_sides`` (such as ``(480, 600)``, instead of
            ``short_side``; smaller frames are enlarged) of the variants in which ``predict`` and streams
            compute a video, to average their probabilities (see :class:`MergedStream`). None: as it is.
        presence: Config of a ``PresenceHead``: in evaluation an object that is absent has an empty mask, and
            entries carry ``extras['presence']`` (:class:`~mmstremn.memory.MinPresence`). None: objects are
            always taken to be there.
        precision: ``'bfloat16'``: videos are computed under autocast to it in evaluation, about 1.5 times as
            fast on CPUs that have such instructions (AVX512-BF16, AMX); affinities stay in float32.
        key_projection: If not 0, the width to which the coarsest map is projected (``KeyEncoder``).
        pixel_fuser: Config of a ``PixelFuser``, which a readout goes through before it is decoded, or None.
        object_transformer: Config of an ``ObjectTransformer``, which it goes through next, or None.

    Raises:
        ValueError: Strides that are no decreasing powers of 2, not as many ``decoder.channels``, a
            ``size_divisor`` of the preprocessor that is no multiple of the stride, ``objects_at_once`` below
            1, a wrong ``test_time``, a ``precision`` other than float32 and bfloat16, or a name in
            ``frozen`` that is no part.
    """

    def __init__(
        self,
        backbone: dict,
        memory: dict,
        value_backbone: dict | None = None,
        decoder: dict | None = None,
        loss: dict | None = None,
        key_channels: int = 64,
        value_channels: int = 256,
        frozen: tuple[str, ...] = (),
        short_side: int | None = None,
        objects_at_once: int | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        value_encoder: dict | None = None,
        test_time: dict | None = None,
        presence: dict | None = None,
        precision: str = 'float32',
        key_projection: int = 0,
        pixel_fuser: dict | None = None,
        object_transformer: dict | None = None,
    ):
        super().__init__(init_cfg=init_cfg)
        decoder = dict(type='MaskDecoder', channels=(512, 256, 256)) | (decoder or {})
        widths = dict(
            key_channels=key_channels, value_channels=value_channels, decoder_channels=decoder['channels'][0]
        )
        self.memory = build(memory, **widths)
        self.key_encoder = KeyEncoder(
            build(backbone), key_channels, self.memory.needs_selection, key_projection
        )
        channels, strides = self.key_encoder.channels, decreasing_strides(self.key_encoder.backbone)
        if len(decoder['channels']) != len(strides):
            raise ValueError(
                f'VOSegmentor.decoder.channels: expected {len(strides)} widths, one for each of the strides '
                f'{strides}, got '
                f'{decoder["channels"]}'
            )
        value_backbone = dict(value_backbone or dict(type='TimmBackbone', model_name='resnet18'))
        value_backbone.update(in_channels=5, strides=strides[:1])
        self.value_encoder = build(
            dict(type='ValueEncoder', backbone=value_backbone) | (value_encoder or {}),
            frame_channels=channels[0],
            value_channels=value_channels,
            own_key_channels=key_channels if self.memory.per_object_key else 0,
        )
        self.decoder = build(
            decoder, value_channels=value_channels, feature_channels=channels, strides=strides
        )
        self.pixel_fuser = build(pixel_fuser, value_channels=value_channels, frame_channels=channels[0])
        self.object_transformer = build(object_transformer)
        readers = self.decoder, self.object_transformer
        self.reads_tokens = any(getattr(part, 'reads_tokens', False) for part in readers)
        self.presence = build(presence)
        backbones = self.key_encoder.backbone, getattr(self.value_encoder, 'backbone', None)
        divisor = max(strides[0], *(getattr(backbone, 'divisor', 1) for backbone in backbones))
        self.data_preprocessor = build_preprocessor(data_preprocessor, divisor)
        self.loss_function = build(loss or dict(type='BootstrappedCEDiceLoss'))
        self.scheduled = getattr(self.loss_function, 'top_share', 1.0) < 1
        self.short_side = short_side
        if test_time is not None:
            variants_of(test_time)  # says at once what is wrong with it
        self.test_time = test_time
        if objects_at_once is not None and objects_at_once < 1:
            raise ValueError(f'VOSegmentor.objects_at_once must be at least 1 or None, got {objects_at_once}')
        if precision not in ('float32', 'bfloat16'):
            raise ValueError(f"VOSegmentor.precision must be 'float32' or 'bfloat16', got '{precision}'")
        self.precision = precision
        self.in_object_chunks = ObjectChunks(objects_at_once)
        self.frozen = tuple(name for name in frozen if self._has_part_to_freeze(name))
        for part in self._frozen_parts():
            part.requires_grad_(False)
        self.to(memory_format=torch.channels_last)  # 1.3 times as fast on CPUs, and what tensor cores want

    def _has_part_to_freeze(self, name: str) -> bool:
        """Whether there is a part of a name in ``frozen``; False where only another memory would have it."""
        parts, in_memory = dict(self.named_modules()), dict(self.memory.named_modules())
        if name in parts:
            return True
        if name.startswith('memory.') and not get_close_matches(
            name.removeprefix('memory.'), in_memory, 1, 0.8
        ):
            message = f"frozen: {type(self.memory).__name__} has no part '{name}', which is left out"
            print_log(message, 'current', logging.WARNING)
            return False
        hint = did_you_mean(name, parts, 0.5)
        children = ', '.join(part for part, _ in self.named_children())
        raise ValueError(f"VOSegmentor.frozen: there is no part '{name}'.{hint} Parts are {children}")

    def _frozen_parts(self) -> list[torch.nn.Module]:
        return [self.get_submodule(name) for name in self.frozen]

    def train(self, mode: bool = True) -> 'VOSegmentor':
        """Switch the mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        for part in self._frozen_parts():
            part.eval()
        return self

    def autocast(self) -> AbstractContextManager:
        """The context in which the frames of a stream are computed, see ``precision``."""
        if self.precision == 'float32':
            return nullcontext()
        return torch.autocast(next(self.parameters()).device.type, torch.bfloat16)

    # The four steps of a frame, which rollout.advance puts in order.

    def encode_frame(self, image: Tensor) -> FrameFeatures:
        """Everything that depends on the frame alone; ``image`` is (B, 3, H, W), normalised, padded by the
        preprocessor."""
        return self.key_encoder(image)

    def decode(self, readout: Tensor, features: FrameFeatures) -> Segmentation:
        """What the frame shows of the objects that were read."""
        readout = self._refine(readout, features)
        read = (readout, features.tokens) if getattr(self.decoder, 'reads_tokens', False) else (readout,)
        logits, decoded = self.in_object_chunks(decoder_of_frame(self.decoder, features.maps), *read)
        probabilities = logits.sigmoid()
        if features.present is not None:
            probabilities = probabilities * features.present[:, :, None, None]
        presence = None
        if self.presence is not None:
            presence = self.presence(features.distance, probabilities, features.grid)
            if not self.training:
                probabilities = self.presence.gate(probabilities, presence)
            elif features.visible is not None:
                probabilities = probabilities * features.visible[:, :, None, None]
        logits = aggregate(probabilities)
        if size_of(logits) != size_of(features.image):
            logits = F.interpolate(logits, size_of(features.image), mode='bilinear', align_corners=False)
        return Segmentation(logits, decoded, presence)

    def _refine(self, readout: Tensor, features: FrameFeatures) -> Tensor:
        """The readout after the pixel fuser and the object transformer, if the model has them."""
        if self.pixel_fuser is not None:
            fuser, feature = self.pixel_fuser, features.maps[0]
            readout = self.in_object_chunks(lambda some: fuser(some, feature), readout)
        if self.object_transformer is not None:
            readout = self.object_transformer(readout, features.tokens, features.grid, features.present)
        return readout

    def accept(self, output: Segmentation | None, given: GivenMasks) -> Segmentation:
        """The segmentation in which the given masks override."""
        if output is None:
            return Segmentation(given.replace(None))
        assert output.decoded is not None  # something was decoded, as nothing is given on all frames
        new = given.masks.shape[1] - output.decoded.shape[1]
        return Segmentation(given.replace(output.logits), F.pad(output.decoded, (0, 0, 0, 0, 0, new)))

    def encode_value(self, features: FrameFeatures, output: Segmentation, prompted: bool) -> Entry:
        """What the frame and its masks offer to the memory.

        The entry's extras:

        - ``mask`` (B, O, P): the objects' probabilities p averaged over the pixels of each position.
        - ``confidence`` (B, O, P): max(p, 1 - p) averaged likewise, in .5..1, without a gradient: how sure
          the mask is of these pixels, whether they show the object or not; 1 where the user gave it.
        - ``decoded`` (B, O, P, C): the decoder's features, where something was decoded.
        - ``presence`` (B, O): the probabilities that any of the objects is visible, where the model has a
          ``PresenceHead``.
        """
        masks = self._masks(features, output)
        encode = value_encoder_of_frame(self.value_encoder, features.image, features.maps[0])
        value, key = self.in_object_chunks(encode, masks, masks_of_others(masks))
        if features.present is not None:
            value = value * features.present[:, :, None, None]
        if key is None:
            key = features.query.key[:, None]
        shrinkage = features.shrinkage
        if shrinkage is not None:
            shrinkage = shrinkage[:, None].expand(-1, key.shape[1], -1)
        sure = torch.maximum(masks, 1 - masks).detach()
        extras = dict(
            mask=F.adaptive_avg_pool2d(masks, features.grid).flatten(2),
            confidence=F.adaptive_avg_pool2d(sure, features.grid).flatten(2),
        )
        if output.decoded is not None:
            extras.update(decoded=output.decoded)
        if output.presence is not None:
            known = features.visible if self.training else None
            extras.update(presence=output.presence.sigmoid() if known is None else known.float())
        return Entry(key, value, features.grid, shrinkage, prompted, extras)

    def covered(self, features: FrameFeatures, output: Segmentation) -> Tensor:
        """(B, O, P) share of each position that the object covers."""
        return F.adaptive_avg_pool2d(self._masks(features, output), features.grid).flatten(2)

    def _masks(self, features: FrameFeatures, output: Segmentation) -> Tensor:
        """(B, O, H, W) probabilities of the objects, none in blank margins."""
        masks = output.logits.softmax(1)[:, 1:]
        if features.blank is None:
            return masks
        left, right, top, bottom = features.blank
        return F.pad(F.pad(masks, (-left, -right, -top, -bottom)), features.blank)

    # What ClipModel asks for.

    def open_clip(self, inputs: Tensor, data_samples: list[VOSDataSample], iteration: int = 0) -> MaskClip:
        """Clips (B, T, 3, H, W) whose first frame's masks are given."""
        size = size_of(data_samples[0].masks)
        margins = self.data_preprocessor.margins(size)
        target, present = stack_masks(data_samples, size_of(inputs), margins)
        features = self.encode_frame(inputs.flatten(0, 1))
        blank = self.data_preprocessor.blank_margins(size)
        return MaskClip(dataclasses.replace(features, present=present, blank=blank), target, present)

    def clip_losses(self, clip: MaskClip, iteration: int) -> dict[str, Tensor]:
        """The losses of all frames but the first, which is given."""
        logits = torch.stack([output.logits for output in clip.outputs[1:]], 1)
        target = clip.target[:, 1:]
        losses = self.loss_function(logits, target, clip.present, iteration)
        if self.presence is not None:
            scores = [output.presence for output in clip.outputs[1:] if output.presence is not None]
            presence = torch.stack(scores, 1)
            losses.update(loss_presence=presence_loss(presence, target, clip.present))
        return losses

    def tensor(self, inputs: Tensor, data_samples: list[VOSDataSample] | None = None) -> Tensor:
        """See :meth:`clip_logits`; without data samples there is one object, the left half of every frame."""
        if data_samples is None:
            masks = torch.zeros(inputs.shape[1], *size_of(inputs), dtype=torch.uint8, device=inputs.device)
            masks[..., : masks.shape[-1] // 2] = 1
            data_samples = [VOSDataSample(masks=masks, metainfo=dict(object_ids=[1]))] * len(inputs)
        return self.clip_logits(inputs, data_samples)

    def clip_logits(self, inputs: Tensor, data_samples: list[VOSDataSample]) -> Tensor:
        """Logits (B, T, 1 + O, H, W) of clips; those of frame 0 are the given masks.

        Objects that only pad the batch have a probability of 0 and zero values, so they change nothing for
        the others.
        """
        clip = self.open_clip(inputs, data_samples)
        self.run(clip, data_samples)
        return torch.stack([output.logits for output in clip.outputs], 1)

    def predict(self, videos: list, data_samples: list[VOSDataSample]) -> list[VOSDataSample]:
        """Segment whole videos one after the other; fills ``pred_masks`` and metainfo (see
        ``predict_video``)."""
        for video, sample in zip(videos, data_samples, strict=True):
            predict_video(self, video, sample)
        return data_samples

    # Streaming.

    def new_stream(self, seed: int = 0) -> VOSStream | MergedStream:
        """A stream that has not begun; with ``test_time`` one that merges its variants."""
        return VOSStream(self, seed) if self.test_time is None else MergedStream(self, seed)

    def start(self, frame, masks=None, points=None, boxes=None, seed: int = 0) -> VOSStream | MergedStream:
        """Begin a stream: the first frame with its masks.

        Args:
            frame: (H, W, 3) uint8 RGB array or tensor.
            masks: (H, W) integer ids (0 background, 255 void, all others objects), or another form that
                :meth:`VOSStream.step` takes; None: the first object is given later.
            points, boxes: Refused, as by :meth:`VOSStream.step`.
            seed: For memories that draw at random.

        Returns:
            The stream; call its ``step`` with every further frame.

        Raises:
            TypeError, ValueError: As of :meth:`VOSStream.step`.
        """
        stream = self.new_stream(seed)
        stream.step(frame, masks, points, boxes)
        return stream

    def load_stream(self, path: str) -> VOSStream | MergedStream:
        """Go on with a stream that was saved with its ``save``, by a model of the same ``test_time``."""
        return (VOSStream if self.test_time is None else MergedStream).load(self, path)
