"""An mmsegmentation decode head with a memory in front of it."""

import warnings
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS as MMSEG_MODELS
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook

from mmstremn.adapters.mmseg.feature_memory import FeatureMemory
from mmstremn.adapters.mmseg.order import Stream, find_clips, frames_of_video, state_before
from mmstremn.registry import MODELS

UNSUPPORTED = dict.fromkeys(
    ('DDRHead', 'PIDHead', 'SideAdapterCLIPHead', 'VPDDepthHead'),
    'its inputs are not the same maps in training and testing',
) | dict(
    DPTHead='its inputs are pairs of a map and a class token',
    IterativeDecodeHead='it holds a list of heads (KNet): wrap no list, use its kernel_generate_head alone',
)
IMAGES = (
    'MemoryDecodeHead: samples without video_name are images, for which the memory is left out. For the '
    'frames of '
    'a video use mmstremn.adapters.mmseg.segment_video(model, frames)'
)
CLIPS = (
    'its memory is not trained. Train on clips: a data set of videos such as mmstremn.VSPWDataset, with '
    "batch_sampler=dict(type='mmstremn.VideoClipBatchSampler', clip_length=4)"
)


@MODELS.register_module()
class MemoryDecodeHead(BaseModule):
    """A decode head for an unmodified ``EncoderDecoder`` that reads and writes a memory from frame to frame.

    The memory changes one of the feature maps that the inner head gets; see :class:`FeatureMemory`. Samples
    whose metainfo has ``video_name`` and ``frame_index`` (our data sets write them) are frames of videos:

    - ``loss``: the batch holds clips (``VideoClipBatchSampler``); gradients go through the memory.
    - ``predict``: frames come in order (``VideoSampler``); frame 0 begins a new video. What is remembered is
      kept from call to call in ``stream`` and dropped when the mode changes.

    Samples without ``video_name`` are images and pass the memory by; in distributed training on images alone
    the memory's weights then get no gradient (``find_unused_parameters=True``). So does the mode 'tensor',
    which knows no metainfo.

    A checkpoint of the inner head's model loads as it is: its ``decode_head.*`` becomes
    ``decode_head.head.*``, and until the memory is trained the results are those of that checkpoint.

    Args:
        head: Config of an mmsegmentation decode head.
        memory: Config of a memory of this library.
        level: Which map of the backbone (or neck) the memory changes; one of those that the head takes. None:
            its last.
        key_channels: Ck.
        value_channels: Cv.
        pool: The memory sees the map averaged over ``pool`` x ``pool`` positions.
        init_cfg: As in mmengine.
        **others: None; those of the inner head belong into ``head``.

    Attributes:
        stream: The video that is being read; None before the first frame. Who reads several in turn keeps one
            for each, as :func:`segment_video` does.

    Raises:
        ValueError: The head is of a kind that cannot be wrapped, does not take ``level``, or becomes one of
            several or an auxiliary head.
        TypeError: There are other arguments, or ``head`` is no config of one head.
    """

    def __init__(
        self,
        head: dict,
        memory: dict,
        level: int | None = None,
        key_channels: int = 64,
        value_channels: int = 128,
        pool: int = 1,
        init_cfg: dict | None = None,
        **others: Any,
    ):
        if others:
            names = ', '.join(f'head.{name}' for name in others)
            raise TypeError(
                f'MemoryDecodeHead has no {", ".join(others)}: set those of the inner head in it '
                f'(decode_head.{names})'
            )
        if not isinstance(head, dict):
            raise TypeError(
                f'MemoryDecodeHead.head: expected the config of one head, got a {type(head).__name__}: the '
                'heads of a cascade (OCRNet, PointRend) and of KNet cannot be wrapped'
            )
        super().__init__(init_cfg)
        self.head = MMSEG_MODELS.build(head)
        _check_supported(self.head, head)
        self.level, channels = _find_level(self.head, head, level)
        self.feature_memory = FeatureMemory(channels, memory, key_channels, value_channels, pool)
        for name in (
            'align_corners',
            'num_classes',
            'out_channels',
            'threshold',
            'ignore_index',
        ):  # read by the segmentor
            setattr(self, name, getattr(self.head, name))
        self.stream: Stream | None = None
        self.register_load_state_dict_pre_hook(_rename_plain_head)

    def train(self, mode: bool = True) -> 'MemoryDecodeHead':
        """Switch the mode, and forget the video that is being read."""
        self.stream = None
        return super().train(mode)

    def forward(self, inputs: Sequence[Tensor], *args) -> Tensor:
        """The inner head's logits without the memory, since there is no metainfo to tell videos by.

        Raises:
            TypeError: The head is a later stage of a cascade.
        """
        if args:
            raise TypeError(
                'MemoryDecodeHead cannot be a stage of CascadeEncoderDecoder, use it in EncoderDecoder'
            )
        warnings.warn("mode 'tensor' has no metainfo: MemoryDecodeHead passes its memory by", stacklevel=2)
        return self.head(inputs)

    def loss(
        self, inputs: Sequence[Tensor], batch_data_samples: list, train_cfg: dict | None = None
    ) -> dict[str, Tensor]:
        """The inner head's losses over all frames, and what the memory adds to them.

        Args:
            inputs: Maps (B, C, h, w), one per level.
            batch_data_samples: With metainfo ``video_name``, ``frame_index`` and ``clip_seed``.
            train_cfg: Passed on.

        Raises:
            ValueError: See :func:`find_clips`; the segmentor would test with sliding windows.
        """
        _check_mode(getattr(_segmentor_of(self), 'test_cfg', None))
        metas, penalty = [sample.metainfo for sample in batch_data_samples], {}
        if not frames_of_video(metas):
            warnings.warn(f'MemoryDecodeHead: samples without video_name are images, {CLIPS}', stacklevel=2)
        else:
            clips = find_clips(metas)
            if clips.length == 1:
                warnings.warn(f'MemoryDecodeHead: clips of a single frame, {CLIPS}', stacklevel=2)
            order = torch.tensor(clips.order, device=inputs[self.level].device)
            changed, penalty = self.feature_memory.clips(inputs[self.level][order], clips.length, clips.seeds)
            inputs = self._with(inputs, changed[order.argsort()])
        return self.head.loss(inputs, batch_data_samples, train_cfg) | penalty

    def predict(
        self, inputs: Sequence[Tensor], batch_img_metas: list[dict], test_cfg: dict | None = None
    ) -> Tensor:
        """The inner head's logits for the next frames.

        Args:
            inputs: Maps (B, C, h, w), one per level; a batch holds frames in order.
            batch_img_metas: With ``video_name`` and ``frame_index``.
            test_cfg: Passed on.

        Raises:
            ValueError: Sliding windows are asked for, the frames are out of order, or an image's size changes
                in a video.
        """
        if frames_of_video(batch_img_metas):
            _check_mode(test_cfg)
            maps = inputs[self.level]
            frames = [self._next(maps[i : i + 1], meta) for i, meta in enumerate(batch_img_metas)]
            inputs = self._with(inputs, torch.cat(frames))
        else:
            warnings.warn(IMAGES, stacklevel=2)  # Python shows it once
        return self.head.predict(inputs, batch_img_metas, test_cfg)

    def _next(self, x: Tensor, meta: dict) -> Tensor:
        size = (tuple(meta['img_shape'][:2]), tuple(x.shape[-2:]))
        state = state_before(self.stream, meta, size)
        x, state = self.feature_memory.step(x, state)
        self.stream = Stream(meta['video_name'], meta['frame_index'], size, state)
        return x

    def _with(self, inputs: Sequence[Tensor], changed: Tensor) -> list[Tensor]:
        inputs = list(inputs)
        inputs[self.level] = changed
        return inputs


def _refuse_stage(parent: nn.Module, name: str, child: nn.Module) -> None:
    """Refuse heads that would be trained with a memory and tested without: in a list, as the first stage of a
    CascadeEncoderDecoder is, and auxiliary ones."""
    if not isinstance(child, MemoryDecodeHead):
        return
    if name == 'auxiliary_head':
        raise ValueError(
            'MemoryDecodeHead cannot be an auxiliary head, which testing leaves out: use it as decode_head'
        )
    if isinstance(parent, nn.ModuleList):
        raise ValueError(
            'MemoryDecodeHead cannot be one of several heads, such as a stage of CascadeEncoderDecoder: '
            'that calls '
            'its first stage without metainfo in testing. Use it as the decode_head of an EncoderDecoder'
        )
    _segmentors[child] = weakref.ref(parent)


_segmentors: weakref.WeakKeyDictionary[MemoryDecodeHead, weakref.ref[nn.Module]] = weakref.WeakKeyDictionary()

register_module_module_registration_hook(_refuse_stage)


def _segmentor_of(head: MemoryDecodeHead) -> nn.Module | None:
    """The model whose head it is; None for a head that stands alone or was copied."""
    found = _segmentors.get(head)
    return None if found is None else found()


def _check_mode(test_cfg: dict | None) -> None:
    if (test_cfg or {}).get('mode') == 'slide':
        raise ValueError(
            "test_cfg.mode='slide' cuts a frame into windows, which a memory would take for frames: "
            "expected model.test_cfg=dict(mode='whole') with MemoryDecodeHead"
        )


def _check_supported(head, cfg: dict) -> None:
    reason = UNSUPPORTED.get(type(head).__name__)
    if reason is None and not isinstance(head, BaseDecodeHead):
        reason = 'it classifies masks or is no BaseDecodeHead of mmsegmentation'
    elif isinstance(head, BaseCascadeDecodeHead):
        reason = 'it is a stage of a cascade, which needs the output of another head'
    if reason:
        raise ValueError(
            f"MemoryDecodeHead cannot wrap '{cfg['type']}': {reason}; expected a head such as FCNHead or "
            'UPerHead'
        )


def _find_level(head: BaseDecodeHead, cfg: dict, level: int | None) -> tuple[int, int]:
    """The level, and the channels of its maps."""
    indices = [head.in_index] if isinstance(head.in_index, int) else list(head.in_index)
    level = indices[-1] if level is None else level
    if level not in indices:
        raise ValueError(
            f"MemoryDecodeHead.level must be one of the levels {indices} that '{cfg['type']}' takes, got "
            f'{level}'
        )
    channels = head.in_channels if cfg.get('in_channels') is None else cfg['in_channels']
    return level, channels if isinstance(channels, int) else channels[indices.index(level)]


def _rename_plain_head(module: MemoryDecodeHead, state_dict: dict, prefix: str, *args) -> None:
    """Give the weights of a head without a memory the names they have in here."""
    names = [name for name in state_dict if name.startswith(prefix)]
    if any(name.startswith(f'{prefix}feature_memory.') for name in names):
        return
    for name in names:
        state_dict[f'{prefix}head.{name.removeprefix(prefix)}'] = state_dict.pop(name)
