"""SAM 2, EdgeTAM and SAM 3's tracker with a memory of this library."""

import copy
import dataclasses
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from mmstremn.adapters.sam2.decoding import MaskHead, as_map
from mmstremn.adapters.sam2.encoding import MemoryFeatures
from mmstremn.adapters.sam2.families import load_tracker, random_tracker
from mmstremn.adapters.sam2.outputs import Features, Masks, Prompts
from mmstremn.adapters.sam2.reading import TrackerReader
from mmstremn.adapters.sam2.stream import Sam2Stream
from mmstremn.memory import Entry, Query
from mmstremn.memory.published.tracker import TrackerMemory
from mmstremn.models.segmentation.inference import predict_video
from mmstremn.models.segmentation.preprocessor import build_preprocessor
from mmstremn.registry import MODELS, build

DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16}


@MODELS.register_module()
class Sam2Segmentor(BaseModel):
    """A tracker of transformers, its modules and weights as they are, whose memory is bounded and saveable.

    It is used like a ``VOSegmentor``: ``start``, ``step``, ``save``, ``load_stream``; it is not trained here.
    With the default memory its mask logits are those of a session of transformers into which each frame is
    streamed with its prompts.

    Args:
        checkpoint: A name on the Hugging Face hub or a folder, of a ``Sam2VideoModel``,
            ``EdgeTamVideoModel`` or ``Sam3TrackerVideoModel``.
        tracker: Instead of a checkpoint: ``model_type`` and the arguments of its config, for random weights.
        memory: Config of a ``TrackerMemory`` or of one made from it (``SAMURAI``, ``DAM4SAM``, ``SAM2Long``);
            by default SAM 2's own rule.
        objects_at_once: Objects that attention, decoder and memory encoder work on at a time; None: all.
        dtype: ``'float32'`` or ``'bfloat16'``, of weights and features.
        compile: Run image encoder and memory attention through ``torch.compile``.
        data_preprocessor: Config.
        init_cfg: As in mmengine.

    Raises:
        ModuleNotFoundError: transformers is not installed.
        ImportError: It is too old.
        FileNotFoundError: There is no such checkpoint.
        ValueError: Neither checkpoint nor tracker, or both; a model of another family; weights are missing;
            a wrong option; another memory than a ``TrackerMemory``.
    """

    test_time = None
    takes_points = True

    def __init__(
        self,
        checkpoint: str | None = None,
        tracker: dict | None = None,
        memory: dict | None = None,
        objects_at_once: int | None = None,
        dtype: str = 'float32',
        compile: bool = False,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg=init_cfg)
        if objects_at_once is not None and objects_at_once < 1:
            raise ValueError(
                f'Sam2Segmentor.objects_at_once must be at least 1 or None, got {objects_at_once}'
            )
        if dtype not in DTYPES:
            raise ValueError(f'Sam2Segmentor.dtype must be one of {", ".join(DTYPES)}, got {dtype!r}')
        if (checkpoint is None) == (tracker is None):
            raise ValueError(
                'Sam2Segmentor: expected either checkpoint (a name on the hub or a folder) or '
                'tracker=dict(model_type=...) for random weights'
            )
        loaded = random_tracker(tracker) if tracker is not None else load_tracker(str(checkpoint))
        self.tracker, self.family = loaded
        self.tracker.requires_grad_(False).to(DTYPES[dtype]).eval()
        self.checkpoint, self.objects_at_once = checkpoint, objects_at_once
        self.encoder = MemoryFeatures(self.tracker, self.family)
        self._take_memory(dict(type='TrackerMemory') | (memory or {}))
        self.data_preprocessor = build_preprocessor(data_preprocessor, 1)
        if compile:
            self.tracker.vision_encoder.compile()
            self.tracker.memory_attention.compile()

    def with_memory(self, **changes) -> 'Sam2Segmentor':
        """The same tracker, its weights shared, with another memory.

        Args:
            changes: Of the config of the memory.

        Raises:
            ValueError: A wrong option; another memory than a ``TrackerMemory``.
        """
        model = copy.deepcopy(self, {id(self.tracker): self.tracker})
        model._take_memory(self.memory_config | changes)
        return model.train(self.training)

    def _take_memory(self, config: dict) -> None:
        self.memory_config, self.memory = config, self._build_memory(config)
        self.reader = TrackerReader(self.tracker, self.encoder, self.memory.slots.selector.needs_usage)
        self.head = MaskHead(self.tracker, self.memory.needs_candidates)

    def _build_memory(self, memory: dict) -> TrackerMemory:
        config, width = self.tracker.config, self.tracker.mem_dim
        if config.num_maskmem < 2:
            raise ValueError(f'the tracker has no memory: its num_maskmem is {config.num_maskmem}')
        made = build(
            memory,
            key_channels=self.tracker.hidden_dim if memory.get('key') == 'image' else width,
            value_channels=width,
            num_places=config.num_maskmem - 1,
            num_pointers=config.max_object_pointers_in_encoder,
            max_prompted=config.max_cond_frame_num,
        )
        if not isinstance(made, TrackerMemory):
            raise ValueError(
                f'Sam2Segmentor.memory: expected TrackerMemory, SAMURAI, DAM4SAM or SAM2Long, got '
                f'{type(made).__name__}: a tracker reads memory features, codes of time and pointers, which '
                'no other memory holds; any selector and gate of slots goes into a TrackerMemory'
            )
        return made

    @property
    def image_size(self) -> int:
        """Rows and columns at which frames are computed."""
        return self.tracker.image_size

    def forward(
        self, inputs: Any, data_samples: Any = None, mode: Literal['loss', 'predict', 'tensor'] = 'predict'
    ) -> Any:
        """mmengine's ``'predict'``; trackers are trained where they come from.

        Raises:
            ValueError: Another mode, or no ``data_samples``, as of mmengine's counter of operations.
        """
        if mode != 'predict':
            raise ValueError(f"Sam2Segmentor only segments videos: mode must be 'predict', got '{mode}'")
        if data_samples is None:
            raise ValueError(
                'Sam2Segmentor only segments videos: expected a data sample for each, as tools/test.py gives '
                'them; operations of one call cannot be counted'
            )
        for video, sample in zip(inputs, data_samples, strict=True):
            predict_video(self, video, sample)
        return data_samples

    # The four steps of a frame, which rollout.advance puts in order.

    def prepare(self, frame: Tensor) -> Tensor:
        """(1, 3, S, S), resized and normalised as transformers' processors do, of (H, W, 3) uint8."""
        image = resize(frame.permute(2, 0, 1)[None], [self.image_size, self.image_size], antialias=True)
        mean, std = (
            255 * torch.tensor(number, device=frame.device).view(-1, 1, 1)
            for number in (self.family.mean, self.family.std)
        )
        return ((image.float() - mean) / std).to(self.tracker.no_memory_embedding.dtype)

    def encode_frame(self, image: Tensor) -> Features:
        """Everything that depends on the frame alone; ``image`` is (1, 3, S, S) from :meth:`prepare`."""
        encoded = self.tracker.get_image_features(image, return_dict=True)
        *fine, top = [flat.transpose(0, 1) for flat in encoded.fpn_hidden_states]  # (1, h * w, C) each
        *sizes, grid = self.tracker.backbone_feature_sizes
        maps = [as_map(flat, size) for flat, size in zip(fine, sizes, strict=True)]
        features = Features(Query(top), maps, encoded.fpn_position_encoding[-1], (grid[0], grid[1]))
        features.query.extras['attend'] = lambda tokens: self.reader(features, tokens, self.objects_at_once)
        features.query.extras['features'] = features
        return features

    def decode(self, readout: Tensor, features: Features) -> Masks:
        """The masks of tracked objects, of which ``readout`` is (1, O, P, C); those of pathways in turn."""
        if self.memory.chooses:
            return self.head.track(readout[0], features, partial(self.memory.choose, features.query))
        chunks = readout[0].split(self.objects_at_once or readout.shape[1])
        return Masks.joined([self.head.track(chunk, features) for chunk in chunks])

    def accept(self, output: Masks | None, given: Prompts) -> Masks:
        """The masks in which those of prompted objects are replaced; new objects follow."""
        final = {place: mask for place, mask in given.masks.items() if place not in given.points}
        own = {place: self.head.from_mask(mask, given.features) for place, mask in final.items()}
        for place, (coordinates, labels) in given.points.items():
            base = given.masks.get(place)
            own[place] = self.head.from_points(coordinates, labels, given.features, base)
        number, total = self.memory.num_pathways, given.total
        ways = [None] * number if output is None else output.split(number)
        parts = [own[place] if place in own else way.one(place) for way in ways for place in range(total)]
        starts = range(0, number * total, total)
        return dataclasses.replace(
            Masks.joined(parts),
            prompted=[start + place for start in starts for place in sorted(own)],
            given={start + place: mask for start in starts for place, mask in final.items()},
        )

    def encode_value(self, features: Features, output: Masks, prompted: bool) -> Entry:
        """What the frame and its masks offer to the memory, see :class:`TrackerMemory`."""
        number = self.memory.num_pathways

        def rows(tensor: Tensor) -> Tensor:
            return tensor.unflatten(0, (number, -1))

        value = rows(self.encoder(output, features, self.objects_at_once))
        keys = dict(
            none=value.new_zeros(*value.shape[:2], 1, 1),
            memory=value.float(),
            image=features.query.key.float()[:, None].expand(*value.shape[:2], -1, -1),
        )
        spoken = torch.zeros(len(output.low), dtype=torch.bool)
        spoken[output.prompted] = True
        extras = dict(pointer=rows(output.pointer), iou=rows(output.iou), score=rows(output.score))
        extras.update(
            prompted=rows(spoken.to(value.device)),
            presence=rows(output.score).sigmoid(),
            confidence=rows(output.iou),
            pixels=rows((output.low > 0).flatten(1).sum(1)),
            overlap=rows(output.overlap),
        )
        if self.memory.slots.selector.needs_notes:
            covered = F.adaptive_avg_pool2d(output.low.sigmoid()[:, None], features.grid)
            extras.update(mask=rows(covered.flatten(1)))
        extras.update(features.query.extras.get('chosen', {}))
        return Entry(keys[self.memory.key], value, features.grid, prompted=prompted, extras=extras)

    # Streaming.

    def new_stream(self, seed: int = 0) -> Sam2Stream:
        """A stream that has not begun."""
        return Sam2Stream(self, seed)

    def start(self, frame, masks=None, points=None, boxes=None, seed: int = 0) -> Sam2Stream:
        """Begin a stream: the first frame with its prompts, see :meth:`VOSStream.step`.

        Args:
            frame: (H, W, 3) uint8 RGB array or tensor.
            masks: As :meth:`VOSStream.step` takes them.
            points: By object id: rows (x, y, label) in pixels, label 1 on the object and 0 beside it.
            boxes: By object id: (x1, y1, x2, y2) in pixels.
            seed: For memories that draw at random.
        """
        stream = self.new_stream(seed)
        stream.step(frame, masks, points, boxes)
        return stream

    def load_stream(self, path: str) -> Sam2Stream:
        """Go on with a stream that was saved with its ``save``."""
        stream = Sam2Stream.load(self, path)
        assert isinstance(stream, Sam2Stream)
        return stream
