"""Video prediction with a pluggable memory: the loop of segmentation, without masks."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from mmstremn.memory import Entry, MemoryState
from mmstremn.models.clip_model import ClipModel
from mmstremn.models.key_encoder import FrameFeatures, KeyEncoder
from mmstremn.models.layers import to_map, to_positions
from mmstremn.models.prediction.clip import FrameClip
from mmstremn.models.prediction.decoders import Prediction
from mmstremn.models.prediction.given_frames import GivenFrames
from mmstremn.models.prediction.inference import predict_samples
from mmstremn.models.prediction.sampling import draw_given
from mmstremn.models.prediction.stream import PredictionStream
from mmstremn.registry import MODELS, build
from mmstremn.structures import PredictionDataSample


@MODELS.register_module()
class VideoPredictor(ClipModel):
    """Predicts the next frame from the last few and a memory, and goes on from its own predictions for any
    length.

    At every frame: the last ``query_frames`` frames become the key, which asks the memory and is stored; the
    readout and the window's feature maps are decoded to the next frame; the value that is stored with the key
    is made of the frame that came next (true or predicted), so that a slot says what followed when the video
    looked like its key. STReMN (arXiv 2109.06474) with ``SlotMemory``; the query of 3
    frames is from a summary of the paper, encoder and decoder are this library's own.

    Recurrent memories are fed with values alone where ``key_channels`` is 0.

    Args:
        backbone: Config of what encodes the window; ``in_channels`` is filled in. Its maps come coarsest
            first.
        memory: Config; parts that name ``key_channels``, ``value_channels`` or ``decoder_channels`` get the
            model's.
        value_backbone: Config of what encodes a frame, of the same coarsest stride; ``backbone``'s if None.
        decoder: Config; the widths it reads are filled in.
        loss: Config.
        sampling: Config of how often training sees true frames; None: always.
        key_channels: Ck; 0 where the memory uses no keys.
        value_channels: Cv.
        frame_channels: C: 1 grey, 3 RGB.
        query_frames: Frames of the window.
        residual: Predict the difference to the last frame.
        value_frame: What a value is made of: ``'next'``, the frame that followed the key's window, or
            ``'last'``, the newest frame of the window itself, as in segmentation.
        carry: Values also hold the decoder's features of their frame, so that what was worked out from the
            memory is remembered in turn, as in a recurrent network; not in the paper.
        predict_observed: The loss also counts the predictions of observed frames.
        data_preprocessor: Config.
        init_cfg: As in mmengine.
    """

    def __init__(
        self,
        backbone: dict,
        memory: dict,
        value_backbone: dict | None = None,
        decoder: dict | None = None,
        loss: dict | None = None,
        sampling: dict | None = None,
        key_channels: int = 64,
        value_channels: int = 128,
        frame_channels: int = 1,
        query_frames: int = 3,
        residual: bool = False,
        value_frame: str = 'next',
        carry: bool = False,
        predict_observed: bool = True,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        preprocessor = build(data_preprocessor or dict(type='PredictionDataPreprocessor'))
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        if query_frames < 1:
            raise ValueError(f'VideoPredictor.query_frames must be at least 1, got {query_frames}')
        if value_frame not in ('next', 'last'):
            raise ValueError(f"VideoPredictor.value_frame must be 'next' or 'last', got {value_frame!r}")
        frame_backbone = build(
            dict(value_backbone or backbone), in_channels=frame_channels, frame_channels=frame_channels
        )
        window_backbone = build(
            dict(backbone), in_channels=query_frames * frame_channels, frame_channels=frame_channels
        )
        frame_decoder = build(
            dict(decoder or dict(type='FrameDecoder')),
            value_channels=value_channels,
            feature_channels=window_backbone.channels,
            frame_channels=frame_channels,
            patch=getattr(window_backbone, 'patch', 1),
        )
        widths = dict(
            key_channels=key_channels,
            value_channels=value_channels,
            decoder_channels=frame_decoder.decoded_channels,
        )
        self.memory = build(memory, **widths)
        if self.memory.per_object_key:
            raise ValueError(
                f'VideoPredictor.memory: {type(self.memory).__name__}.per_object_key must be False: there '
                'are no objects'
            )
        self.key_encoder = KeyEncoder(window_backbone, key_channels, self.memory.needs_selection)
        self.value_backbone = frame_backbone
        width = frame_backbone.channels[0] + (frame_decoder.decoded_channels if carry else 0)
        same = width == value_channels
        self.to_value = nn.Identity() if same else nn.Conv2d(width, value_channels, 3, padding=1)
        self.decoder = frame_decoder
        self.loss_function = build(loss or dict(type='PredictionLoss'))
        self.sampling = build(sampling)
        self.scheduled = sampling is not None
        self.query_frames, self.predict_observed = query_frames, predict_observed
        self.residual, self.value_frame, self.carry = residual, value_frame, carry
        self.key_channels, self.value_channels = key_channels, value_channels
        self.frame_channels = frame_channels

    # The four steps of a frame, which rollout.advance puts in order.

    def encode_window(self, frames: list[Tensor]) -> FrameFeatures:
        """Everything that depends on the last frames (B, C, H, W) alone; the oldest stands for those that are
        missing."""
        frames = [frames[0]] * (self.query_frames - len(frames)) + list(frames)[-self.query_frames :]
        return self.key_encoder(torch.cat(frames, 1))

    def decode(self, readout: Tensor, features: FrameFeatures) -> Prediction:
        """The next frame."""
        frame, decoded = self.decoder(readout, features.maps)
        if self.residual:
            frame = frame + _newest(features, frame)
        return Prediction(frame, frame, decoded)

    def accept(self, output: Prediction | None, given: GivenFrames) -> Prediction:
        """What the video goes on from."""
        if output is None:
            return Prediction(None, given.frames)
        return replace(output, taken=given.over(output.predicted))

    def encode_value(self, features: FrameFeatures, output: Prediction, prompted: bool) -> Entry:
        """What a frame and the window before it offer to the memory; no frame has to be stored."""
        frame = output.taken if self.value_frame == 'next' else _newest(features, output.taken)
        map_ = self.value_backbone(frame)[0]
        if self.carry:
            decoded = output.decoded
            if decoded is None:
                decoded = map_.new_zeros(len(map_), 1, map_[0, 0].numel(), self.decoder.decoded_channels)
            map_ = torch.cat([map_, to_map(decoded[:, 0], features.grid).to(map_.dtype)], 1)
        value = to_positions(self.to_value(map_))[:, None]
        shrinkage = None if features.shrinkage is None else features.shrinkage[:, None]
        extras = {} if output.decoded is None else dict(decoded=output.decoded)
        return Entry(features.query.key[:, None], value, features.grid, shrinkage, False, extras)

    # What ClipModel asks for.

    def open_clip(
        self, inputs: Tensor, data_samples: list[PredictionDataSample], iteration: int = 0
    ) -> FrameClip:
        """Clips (B, T, C, H, W) in 0..1, and the frames that the iteration's sampling gives."""
        given = draw_given(self.sampling, inputs, data_samples, iteration)
        return FrameClip(self, inputs, given, data_samples[0].input_frames)

    def clip_losses(self, clip: FrameClip, iteration: int) -> dict[str, Tensor]:
        """The losses of the predicted frames."""
        begin = 0 if self.predict_observed else clip.observed - 1
        return self.loss_function(clip.predictions[:, begin:], clip.frames[:, 1 + begin :])

    def tensor(self, inputs: Tensor, data_samples: list[PredictionDataSample] | None = None) -> Tensor:
        """Frames (B, T - 1, C, H, W), each from the true ones before it."""
        return self.predict_clip(inputs, [True] * inputs.shape[1], data_samples)

    def predict_clip(
        self,
        inputs: Tensor,
        given: list[bool | Tensor],
        data_samples: list[PredictionDataSample] | None = None,
        watch: Callable[[MemoryState], object] | None = None,
    ) -> Tensor:
        """Every frame of clips but the first, each from those before it.

        Args:
            inputs: (B, T, C, H, W) in 0..1; frames that are not given are not looked at.
            given: For each of the T frames whether the video goes on from the true one: True, False or (B,)
                bool.
            data_samples: Seeds of memories that draw; None: the global generator.
            watch: Called with the memory's state after every frame.

        Returns:
            Frames (B, T - 1, C, H, W).
        """
        clip = FrameClip(self, inputs, given)
        self.run(clip, data_samples, watch)
        return clip.predictions

    def predict(self, inputs: Tensor, data_samples: list[PredictionDataSample]) -> list[PredictionDataSample]:
        """Predict what follows the observed frames (see
        :func:`~mmstremn.models.prediction.inference.predict_samples`)."""
        return predict_samples(self, inputs, data_samples)

    # Streaming.

    def start(self, frame: Tensor, seed: int = 0) -> PredictionStream:
        """Begin a stream with its first frame (C, H, W) in 0..1; its ``step`` takes every further one."""
        stream = PredictionStream(self, seed)
        stream.step(frame)
        return stream

    def load_stream(self, path: str) -> PredictionStream:
        """Go on with a stream that was saved with its ``save``, see :meth:`PredictionStream.load`."""
        return PredictionStream.load(self, path)


def _newest(features: FrameFeatures, like: Tensor) -> Tensor:
    """The newest frame of a window, of as many channels as ``like``."""
    return features.image[:, -like.shape[1] :]
