"""A class for a clip: one token a frame, a memory of tokens, a classifier on what the last frame reads."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmstremn.memory import Entry, Query
from mmstremn.models.clip_model import ClipModel
from mmstremn.registry import MODELS, build


@dataclass
class TokenFeatures:
    """What is computed from a frame alone.

    Attributes:
        token: (B, C).
        query: Its key is also the frame's key when it is stored.
        shrinkage: (B, 1) of the frame as an entry, or None.
    """

    token: Tensor
    query: Query
    shrinkage: Tensor | None = None


@MODELS.register_module()
class TokenClassifier(ClipModel):
    """Classifies clips. The memory holds one token a frame: the grid is 1 x 1, and there is one object.

    Args:
        backbone: Config; its first feature map is used.
        memory: Config; parts that name ``key_channels``, ``value_channels`` or ``decoder_channels`` get the
            model's. None: the mean of all frames' tokens takes the place of what the last frame is and reads
            (a baseline without order).
        num_classes: Number of classes.
        grid: The feature map is averaged over this many (rows, columns) before it becomes a token.
        key_channels: Ck.
        value_channels: Cv, also the width C of a token.
        data_preprocessor: Config.
        init_cfg: As in mmengine.
    """

    def __init__(
        self,
        backbone: dict,
        memory: dict | None,
        num_classes: int,
        grid: tuple[int, int] = (4, 4),
        key_channels: int = 64,
        value_channels: int = 128,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(build(data_preprocessor or dict(type='VOSDataPreprocessor')), init_cfg)
        widths = dict(
            key_channels=key_channels, value_channels=value_channels, decoder_channels=value_channels
        )
        self.memory = build(memory, **widths)
        self.backbone = build(backbone)
        flat = self.backbone.channels[0] * grid[0] * grid[1]
        pool = [
            nn.AdaptiveAvgPool2d(grid),
            nn.Flatten(),
            nn.Linear(flat, value_channels),
            nn.LayerNorm(value_channels),
        ]
        self.to_token = nn.Sequential(*pool)
        self.to_key = nn.Linear(value_channels, key_channels)
        self.to_weights = None  # of the anisotropic L2 affinity: a selection of channels, and a shrinkage
        if self.memory is not None and self.memory.needs_selection:
            self.to_weights = nn.Linear(value_channels, key_channels + 1)
        self.to_value = nn.Linear(value_channels, value_channels)
        hidden = [nn.Linear(2 * value_channels, value_channels), nn.ReLU()]
        self.classify = nn.Sequential(*hidden, nn.Linear(value_channels, num_classes))

    def describe(self, token: Tensor) -> TokenFeatures:
        """What a frame asks, from its token (B, C)."""
        query, shrinkage = Query(self.to_key(token)[:, None]), None
        if self.to_weights is not None:
            weights = self.to_weights(token)[:, None]
            query.selection, shrinkage = weights[..., :-1].sigmoid(), weights[..., -1].square() + 1
        return TokenFeatures(token, query, shrinkage)

    # The steps of a frame, which rollout.advance puts in order.

    def decode(self, readout: Tensor, features: TokenFeatures) -> Tensor:
        """Logits (B, classes) from what was read, (B, 1, 1, Cv)."""
        return self.classify(torch.cat([features.token, readout.flatten(1)], -1))

    def accept(self, output: Tensor | None, given) -> Tensor | None:
        """Nothing is given for a frame, but that the first begins the clip."""
        return output

    def encode_value(self, features: TokenFeatures, output: Tensor | None, prompted: bool) -> Entry:
        """The frame's token as an entry without a place."""
        value = self.to_value(features.token)[:, None, None]
        extras = dict(mask=value.new_ones(value.shape[:3]), decoded=value)
        shrinkage = None if features.shrinkage is None else features.shrinkage[:, None]
        return Entry(features.query.key[:, None], value, (1, 1), shrinkage, prompted, extras)

    # What ClipModel asks for.

    def open_clip(
        self, inputs: Tensor, data_samples: list[BaseDataElement] | None, iteration: int = 0
    ) -> 'TokenClip':
        """Clips (B, T, 3, H, W), normalised; T is at least 2."""
        length = inputs.shape[1]
        if length < 2:
            raise ValueError(
                f'TokenClassifier: the last frame reads of those before it: expected 2 or more, got {length}'
            )
        tokens = self.to_token(self.backbone(inputs.flatten(0, 1))[0]).unflatten(0, (-1, length))
        labels = [sample.gt_label for sample in data_samples or () if 'gt_label' in sample]
        return TokenClip([self.describe(token) for token in tokens.unbind(1)], labels)

    def run(  # type: ignore[override]
        self, clip: 'TokenClip', *args, **kwargs
    ) -> dict[str, Tensor]:
        """As in :class:`ClipModel`; without a memory the mean of the tokens is classified."""
        if self.memory is not None:
            return super().run(clip, *args, **kwargs)
        mean = torch.stack([features.token for features in clip.features]).mean(0)
        clip.take(self.decode(self.to_value(mean), self.describe(mean)))
        return {}

    def clip_losses(self, clip: 'TokenClip', iteration: int) -> dict[str, Tensor]:
        """Cross-entropy."""
        return dict(loss=F.cross_entropy(clip.logits, torch.stack(clip.labels)))

    def predict(self, inputs: Tensor, data_samples: list[BaseDataElement]) -> list[BaseDataElement]:
        """The samples with ``pred_label`` and ``pred_scores``."""
        scores = self.logits(inputs, data_samples).softmax(-1)
        for sample, own in zip(data_samples, scores, strict=True):
            sample.pred_scores, sample.pred_label = own, own.argmax()
        return data_samples

    def tensor(self, inputs: Tensor, data_samples: list[BaseDataElement] | None = None) -> Tensor:
        """See :meth:`logits`."""
        return self.logits(inputs, data_samples)

    def logits(self, inputs: Tensor, data_samples: list[BaseDataElement] | None = None) -> Tensor:
        """Logits (B, classes) of clips (B, T, 3, H, W), normalised; T is at least 2."""
        clip = self.open_clip(inputs, data_samples)
        self.run(clip, data_samples)
        return clip.logits


@dataclass
class TokenClip:
    """T tokens.

    Attributes:
        features: Of each frame.
        labels: Of each sample, if they are known.
        logits: (B, classes), of the last frame.
    """

    features: list[TokenFeatures]
    labels: list[Tensor]
    logits: Tensor = field(init=False)

    @property
    def length(self) -> int:
        """T."""
        return len(self.features)

    def frame(self, index: int) -> tuple[TokenFeatures, bool | None]:
        """The features of a frame; the first begins the clip."""
        return self.features[index], index == 0 or None

    def take(self, output: Tensor) -> None:
        """Keep the logits of the newest frame."""
        self.logits = output
