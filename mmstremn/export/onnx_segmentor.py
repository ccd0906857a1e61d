"""Exported segmentors on ONNX Runtime or OpenVINO: the loop of a frame in numpy, its networks as graphs."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime

from mmstremn.export.slots import Slots
from mmstremn.structures import GivenIds, read_masks

FORMAT = 'mmstremn.onnx/1'
EPSILON = 1e-7


class GraphSegmentor:
    """Runs what :func:`~mmstremn.export.export` wrote, with the streaming calls of a ``VOSegmentor``.

    Args:
        folder: With ``contract.json`` and the graphs.

    Attributes:
        suffixes: Of the files of graphs that the runtime reads.

    Raises:
        FileNotFoundError: There is no contract, or a graph is missing.
        ValueError: The contract is of another format, or the graphs are for another runtime.
    """

    suffixes: tuple[str, ...] = ()

    def __init__(self, folder: str | Path):
        path = Path(folder) / 'contract.json'
        if not path.is_file():
            raise FileNotFoundError(f'{path}: no such file, expected what `mmstremn export` writes')
        self.contract = json.loads(path.read_text('utf-8'))
        if self.contract.get('format') != FORMAT:
            raise ValueError(f'{path}: expected format {FORMAT}, got {self.contract.get("format")}')
        self._graphs = {}
        for name, graph in self.contract['graphs'].items():
            file = path.with_name(graph['file'])
            if not file.is_file():
                raise FileNotFoundError(f'{file}: no such file, {path} names it')
            if file.suffix not in self.suffixes:
                expected = ' or '.join(self.suffixes)
                raise ValueError(
                    f'{file}: {type(self).__name__} reads {expected}, see `mmstremn export --to`'
                )
            self._graphs[name] = self._load(file)

    def _load(self, file: Path) -> Any:
        """A graph, ready to run."""
        raise NotImplementedError

    def _call(self, graph: Any, feed: dict[str, np.ndarray]) -> Sequence[np.ndarray]:
        """The outputs of a graph, in their order."""
        raise NotImplementedError

    def run(self, name: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Run a graph; inputs that it does not have are left out.

        Returns:
            Its outputs by name.
        """
        graph = self.contract['graphs'][name]
        feed = {key: inputs[key] for key in graph['inputs']}
        return dict(zip(graph['outputs'], self._call(self._graphs[name], feed), strict=True))

    def start(self, frame: np.ndarray, masks: np.ndarray | None = None) -> 'OnnxStream':
        """Begin a stream: the first frame with its masks, as of ``VOSegmentor.start``."""
        stream = OnnxStream(self)
        stream.step(frame, masks)
        return stream


class OnnxSegmentor(GraphSegmentor):
    """A :class:`GraphSegmentor` on ONNX Runtime.

    Args:
        folder: What ``export(to='onnx')`` wrote.
        threads: Of ONNX Runtime; 0: its own choice.
        providers: Of ONNX Runtime.
    """

    suffixes = ('.onnx',)

    def __init__(
        self, folder: str | Path, threads: int = 0, providers: tuple[str, ...] = ('CPUExecutionProvider',)
    ):
        self._options, self._providers = onnxruntime.SessionOptions(), list(providers)
        self._options.intra_op_num_threads, self._options.log_severity_level = threads, 3
        super().__init__(folder)

    def _load(self, file: Path) -> Any:
        return onnxruntime.InferenceSession(str(file), self._options, self._providers)

    def _call(self, graph: Any, feed: dict[str, np.ndarray]) -> Sequence[np.ndarray]:
        return graph.run(None, feed)


class OpenVINOSegmentor(GraphSegmentor):
    """A :class:`GraphSegmentor` on OpenVINO, on the CPU, in float32.

    Args:
        folder: What ``export(to='openvino')`` or ``export(to='onnx')`` wrote.
        threads: Of OpenVINO; 0: its own choice.

    Raises:
        ModuleNotFoundError: OpenVINO is not installed.
    """

    suffixes = ('.xml', '.onnx')

    def __init__(self, folder: str | Path, threads: int = 0):
        self._core = openvino_module().Core()
        self._options = dict(
            PERFORMANCE_HINT='LATENCY', INFERENCE_PRECISION_HINT='f32', INFERENCE_NUM_THREADS=threads
        )
        super().__init__(folder)

    def _load(self, file: Path) -> Any:
        return self._core.compile_model(str(file), 'CPU', self._options)

    def _call(self, graph: Any, feed: dict[str, np.ndarray]) -> Sequence[np.ndarray]:
        return graph(feed).to_tuple()


def openvino_module() -> Any:
    """The package.

    Raises:
        ModuleNotFoundError: It is not installed.
    """
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "OpenVINO is not installed: pip install 'mmstremn[openvino]'", name='openvino'
        ) from error
    return openvino


class OnnxStream:
    """A running video, like ``VOSStream``.

    Args:
        model: The segmentor.

    Attributes:
        object_ids: The user's ids, in the order in which the objects were given.
        size: (H, W) of the frames.
        index: Frames seen so far.
    """

    def __init__(self, model: GraphSegmentor):
        self.model, self.contract = model, model.contract
        self.object_ids: list[int] = []
        self.size: tuple[int, int] | None = None
        self.index = 0
        self.slots: Slots | None = None

    def step(self, frame: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        """Segment the next frame: (H, W) uint8 ids.

        Args:
            frame: (H, W, 3) uint8 RGB.
            masks: As of ``VOSStream.step``.

        Raises:
            TypeError: The frame is not uint8.
            ValueError: Wrong shapes, a frame of another size than the first, masks that are not usable.
        """
        probabilities = self.probabilities(frame, masks)
        return np.array([0, *self.object_ids], np.uint8)[probabilities.argmax(0)]

    def probabilities(self, frame: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        """Like :meth:`step`, but (1 + O, H, W) probabilities."""
        frame = self._checked(frame)
        size, given = frame.shape[:2], None
        if masks is not None:
            given = read_masks(masks, size, self.object_ids, f'masks of frame {self.index}')
        new_ids = [] if given is None else [i for i in given.objects if i not in self.object_ids]
        self.size = size
        if not self.object_ids and not new_ids:
            self.index += 1
            return np.ones((1, *size), np.float32)
        self.object_ids = [*self.object_ids, *new_ids]
        image, inner = self._prepare(frame)
        found = self._advance(image, given, len(new_ids), inner)
        self.index += 1
        left, _, top, _ = self._margins(inner)
        found = found[0, :, top : top + inner[0], left : left + inner[1]]
        if inner != size:
            found = np.stack(
                [cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR) for plane in found]
            )
        return found if given is None else _impose(found, given, self.object_ids)

    def _advance(
        self, image: np.ndarray, given: GivenIds | None, new: int, inner: tuple[int, int]
    ) -> np.ndarray:
        """One frame: key, read, decode, value, write. Probabilities (1, 1 + O, H', W')."""
        keyed = self.model.run('key', image=image)
        presence, logits = {}, None
        if self.slots is not None:
            decoded = self._read_and_decode(image, keyed, self.slots)
            logits, probabilities = decoded['logits'], decoded['probabilities']
            presence = {name: decoded[name] for name in ('presence',) if name in decoded}
            if new:
                self.slots.add_objects(new, self.contract['memory']['per_object_key'])
        if given is not None:
            planes = self._planes(given, inner)
            spoken = None if logits is None else [self.object_ids.index(i) for i in given.objects]
            probabilities = _softmax(_replace(logits, planes, spoken))
        if given is None and not self._wants():
            assert self.slots is not None
            self.slots.step += 1
        else:
            self._write(image, keyed, self._seen(probabilities, inner), presence, given is not None)
        return probabilities

    def _read_and_decode(self, image: np.ndarray, keyed: dict, slots: Slots) -> dict[str, np.ndarray]:
        held, births = slots.tensors, slots.births
        written = held['written_at'] >= 0
        asked = {name: keyed[name] for name in ('query', 'selection') if name in keyed}
        groups = [(0, slice(None))]  # with keys of their own all objects are read at once
        if not self.contract['memory']['per_object_key']:
            groups = _birth_groups(births)
        read = [
            self.model.run(
                'read',
                **asked,
                key=held['key'],
                value=held['value'][:, members],
                slot_shrinkage=held.get('slot_shrinkage'),
                usable=written & (held['written_at'] >= birth),
                written=written,
            )
            for birth, members in groups
        ]
        slots.count_usage(np.mean([some['share'] for some in read], 0))
        readout = np.concatenate([some['readout'] for some in read], 1)
        grid = tuple(side // self.contract['stride'] for side in image.shape[2:])
        more = {}
        if 'distance' in read[0]:
            more['distance'] = read[0]['distance'].reshape(*read[0]['distance'].shape[:2], *grid)
        readout = readout.reshape(*readout.shape[:2], *grid, readout.shape[-1])
        return self.model.run('decode', **keyed, **more, readout=readout)

    def _wants(self) -> bool:
        """Whether a frame without masks of the user is offered to the memory."""
        memory, step = self.contract['memory'], self.slots.step if self.slots else 0
        return memory.get('keep_last', False) or all(step % n == 0 for n in memory['every'])

    def _write(
        self, image: np.ndarray, keyed: dict, masks: np.ndarray, presence: dict, prompted: bool
    ) -> None:
        memory = self.contract['memory']
        valued = self.model.run('value', **keyed, image=image, masks=masks)
        key = valued.get('new_key', keyed['query'][:, None])
        entry = dict(key=key, value=valued['new_value'])
        if 'shrinkage' in keyed:
            shrinkage = keyed['shrinkage'][:, None]
            entry['slot_shrinkage'] = np.broadcast_to(shrinkage, key.shape[:3])
        slots = self.slots = self.slots or Slots.empty(memory, entry)
        if memory['type'] == 'GrowingMemory':
            slots.append(entry, prompted or all(slots.step % n == 0 for n in memory['every']))
            return
        chosen = self.model.run(
            'select_prompted' if prompted else 'select',
            **slots.tensors,
            **presence,
            step=np.array(slots.step),
            new_key=key,
            new_value=entry['value'],
        )
        slots.write(entry, chosen['slot'], prompted)

    def _checked(self, frame: np.ndarray) -> np.ndarray:
        frame = np.asarray(frame)
        if frame.dtype != np.uint8:
            raise TypeError(f'frame {self.index} must be uint8 RGB in 0..255, got {frame.dtype}')
        if frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
            raise ValueError(f'frame {self.index} must be (H, W, 3), got {frame.shape}')
        if self.index and self.size != frame.shape[:2]:
            raise ValueError(
                f'frame {self.index} is {frame.shape[:2]}, but the stream began with {self.size} (H, W)'
            )
        return frame

    def _prepare(self, frame: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        """(1, 3, H', W') normalised and padded, and the size (h, w) before padding."""
        about, size, inner = self.contract['frame'], frame.shape[:2], frame.shape[:2]
        if about['short_side'] and min(size) > about['short_side']:
            inner = tuple(round(side * about['short_side'] / min(size)) for side in size)
        planes = frame.astype(np.float32).transpose(2, 0, 1)
        if inner != size:
            planes = np.stack([_resize(plane, inner) for plane in planes])
        mean, std = (np.array(about[name], np.float32)[:, None, None] for name in ('mean', 'std'))
        left, right, top, bottom = self._margins(inner)
        margins = (0, 0), (top, bottom), (left, right)
        if about['padding'] == 'black':
            image = (np.pad(planes, margins) - mean) / std
        else:
            image = np.pad((planes - mean) / std, margins)
        return np.ascontiguousarray(image[None]), inner

    def _margins(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """(left, right, top, bottom) pixels of padding."""
        about = self.contract['frame']
        height, width = (-side % about['size_divisor'] for side in size)
        if about['padding'] == 'end':
            return 0, width, 0, height
        return width // 2, width - width // 2, height // 2, height - height // 2

    def _planes(self, given: GivenIds, inner: tuple[int, int]) -> np.ndarray:
        """(1, O, H', W') bool masks of all objects."""
        rows, columns = (
            ((np.arange(new) + 0.5) * old / new).astype(int)
            for old, new in zip(given.ids.shape, inner, strict=True)
        )
        left, right, top, bottom = self._margins(inner)
        ids = np.pad(given.ids[rows][:, columns], ((top, bottom), (left, right)))
        return np.stack([ids == i for i in self.object_ids])[None]

    def _seen(self, probabilities: np.ndarray, inner: tuple[int, int]) -> np.ndarray:
        """The objects' probabilities (1, O, H', W') that the memory sees: none in blank margins."""
        masks = probabilities[:, 1:]
        if not self.contract['frame']['blank']:
            return np.ascontiguousarray(masks)
        left, _, top, _ = self._margins(inner)
        seen = np.zeros_like(masks)
        inside = (..., slice(top, top + inner[0]), slice(left, left + inner[1]))
        seen[inside] = masks[inside]
        return seen


def _resize(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A float plane (H, W), smaller, bilinear with antialiasing as in torch."""
    from PIL import Image

    return np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling.BILINEAR))


def _birth_groups(births: list[int]) -> list[tuple[int, slice]]:
    """Each step at which objects were born, and those objects."""
    groups, start = [], 0
    for birth, members in itertools.groupby(births):
        stop = start + len(list(members))
        groups.append((birth, slice(start, stop)))
        start = stop
    return groups


def _aggregate(masks: np.ndarray) -> np.ndarray:
    """Logits (1, 1 + O, H, W) of masks (1, O, H, W), as ``mmstremn.models`` aggregates them."""
    masks = masks.astype(np.float32)
    both = np.concatenate([(1 - masks).prod(1, keepdims=True), masks], 1)
    both = both.clip(np.float32(EPSILON), np.float32(1 - EPSILON))
    return np.log(both / (1 - both))


def _replace(logits: np.ndarray | None, masks: np.ndarray, objects: list[int] | None) -> np.ndarray:
    """Logits in which masks (1, O, H, W) override where an object spoken of is, or was predicted to be."""
    truth = _aggregate(masks)
    if logits is None or objects is None:
        return truth
    absent = _aggregate(np.zeros_like(truth[:, :1]))[:, 1:]
    missing = truth.shape[1] - logits.shape[1]
    logits = np.concatenate([logits, np.repeat(absent, missing, 1)], 1)
    known = masks[:, objects].any(1, keepdims=True)
    known |= np.isin(logits.argmax(1)[:, None], np.array(objects) + 1)
    return np.where(known, truth, logits)


def _softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def _impose(probabilities: np.ndarray, given: GivenIds, object_ids: list[int]) -> np.ndarray:
    """Probabilities (1 + O, H, W) in which the objects spoken of are exactly where the masks say."""
    places = np.zeros(1 + max(object_ids), int)
    places[object_ids] = np.arange(1, 1 + len(object_ids))
    truth = places[given.ids]
    known = (truth > 0) | np.isin(probabilities.argmax(0), places[given.objects])
    planes = np.arange(1 + len(object_ids))[:, None, None]
    return np.where(known, (truth == planes).astype(np.float32), probabilities)
