"""A segmentor as ONNX or OpenVINO graphs and a JSON contract that says what they take and give."""

import hashlib
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmstremn.apis.inference import init_segmentor
from mmstremn.export.graphs import DecodeGraph, KeyGraph, ReadGraph, SelectGraph, ValueGraph
from mmstremn.export.onnx_segmentor import openvino_module
from mmstremn.memory.published.stm_stcn import GrowingMemory
from mmstremn.memory.readers import DenseReader, TopKReader
from mmstremn.memory.slots.gates import EveryN, MinConfidence
from mmstremn.memory.slots.gumbel import GumbelSelector
from mmstremn.memory.slots.selectors import FIFOSelector
from mmstremn.memory.slots.slot_memory import SlotMemory
from mmstremn.models.key_encoder import decreasing_strides
from mmstremn.models.segmentation.preprocessor import VOSDataPreprocessor
from mmstremn.models.segmentation.segmentor import VOSegmentor
from mmstremn.utils.atomic import folder_written_aside, write_json
from mmstremn.utils.shipped_files import find_weights

FORMAT = 'mmstremn.onnx/1'
OPSET = 18  # the first whose Resize the exporter maps bilinear interpolation on
CONTRACT = 'contract.json'
OBJECTS, SLOTS, ROWS, COLUMNS = 2, 3, 6, 5  # of the examples


def export(
    config: str | Path | Config,
    weights: str | Path | None,
    to: str = 'onnx',
    out: str | Path = 'work_dirs/export',
) -> Path:
    """Write the steps of a frame as graphs for a runtime without torch, and their contract.

    ``key``, ``read``, ``decode``, ``value`` and, of a ``SlotMemory``, ``select`` and ``select_prompted``
    (with masks of the user) take any size of frames and number of objects. What is written to a slot, and
    which frames are offered, is code of the runner, :class:`~mmstremn.export.OnnxSegmentor`.

    Args:
        config: As of :func:`~mmstremn.apis.init_segmentor`.
        weights: A checkpoint; None: the model as it is initialised.
        to: ``'onnx'``, or ``'openvino'``: the same graphs as OpenVINO's files, in float32.
        out: Folder; it appears when all is written.

    Returns:
        The folder.

    Raises:
        ModuleNotFoundError: OpenVINO is asked for and not installed.
        ValueError: Another runtime, or a model with parts that are not supported; the message names them.
    """
    if to not in ('onnx', 'openvino'):
        raise ValueError(f"export to '{to}' is not supported, expected 'onnx' or 'openvino'")
    openvino = openvino_module() if to == 'openvino' else None
    path = None if weights is None else find_weights(weights)
    model = init_segmentor(config, path, device='cpu', precision='float32', fuse=True)
    check_supported(model)
    model.to(memory_format=torch.contiguous_format)
    model.in_object_chunks = lambda function, *tensors: function(*tensors)  # type: ignore[assignment]
    with folder_written_aside(out) as folder, torch.no_grad():
        graphs = {name: _write(folder / f'{name}.onnx', part) for name, part in _parts(model).items()}
        about = dict(
            format=FORMAT,
            config=Path(str(getattr(config, 'filename', config))).name,
            weights=None if path is None else _describe_file(path),
            opset=OPSET,
        )
        if openvino is not None:
            for graph in graphs.values():
                _convert(openvino, folder, graph)
        write_json(folder / CONTRACT, about | contract(model) | dict(graphs=graphs))
    return Path(out)


def check_supported(model: nn.Module) -> None:
    """Raise a ValueError that names a part of the model that cannot be exported."""
    if type(model) is not VOSegmentor:
        raise ValueError(f'export: expected a VOSegmentor, got {type(model).__name__}')
    memory = model.memory
    for name in ('pixel_fuser', 'object_transformer', 'test_time'):
        if getattr(model, name) is not None:
            raise ValueError(f'export: VOSegmentor.{name} is not supported, expected None')
    if type(model.data_preprocessor) is not VOSDataPreprocessor:
        raise ValueError(f'export: {type(model.data_preprocessor).__name__} is not supported')
    if type(memory) not in (SlotMemory, GrowingMemory):
        kind = type(memory).__name__
        raise ValueError(f'export: {kind} is not supported, expected SlotMemory or GrowingMemory')
    if type(memory.reader) not in (DenseReader, TopKReader):
        raise ValueError(f'export: {type(memory.reader).__name__} is not supported')
    if isinstance(memory, SlotMemory):
        _check_slots(memory)


def _check_slots(memory: SlotMemory) -> None:
    for name in ('align', 'fusion'):
        if getattr(memory, name) is not None:
            raise ValueError(f'export: SlotMemory.{name} is not supported, expected None')
    if type(memory.selector) not in (GumbelSelector, FIFOSelector):
        kind = type(memory.selector).__name__
        raise ValueError(f'export: {kind} is not supported, expected GumbelSelector or FIFOSelector')
    if any(isinstance(gate, MinConfidence) for gate in memory.gates):
        raise ValueError('export: the gate MinConfidence is not supported')


def contract(model: VOSegmentor) -> dict[str, Any]:
    """What a runner must know beside the graphs."""
    preprocessor, memory = model.data_preprocessor, model.memory
    return dict(
        frame=dict(
            mean=preprocessor.mean.flatten().tolist(),
            std=preprocessor.std.flatten().tolist(),
            size_divisor=preprocessor.size_divisor,
            padding=preprocessor.padding,
            blank=preprocessor.padding == 'black' and preprocessor.blank,
            short_side=model.short_side,
        ),
        stride=decreasing_strides(model.key_encoder.backbone)[0],
        channels=dict(key=model.key_encoder.key.out_channels, value=model.value_encoder.value_channels),
        memory=_describe_memory(memory),
    )


def _describe_memory(memory: SlotMemory | GrowingMemory) -> dict[str, Any]:
    about = dict(
        type=type(memory).__name__,
        per_object_key=memory.per_object_key,
        top_k=getattr(memory.reader, 'k', None),
    )
    if isinstance(memory, GrowingMemory):
        return about | dict(every=[memory.every], keep_last=memory.keep_last)
    return about | dict(
        num_slots=memory.num_slots,
        every=[gate.n for gate in memory.gates if isinstance(gate, EveryN)],
        relevance=memory.selector.needs_relevance,
        prompted=any(gate.needs_prompted for gate in memory.gates),
        selector=type(memory.selector).__name__,
        gates=[type(gate).__name__ for gate in memory.gates],
    )


def _describe_file(path: str) -> dict[str, str]:
    file = Path(path)
    return dict(name=file.name, sha256=hashlib.sha256(file.read_bytes()).hexdigest())


class _Part(NamedTuple):
    """A graph to write.

    Attributes:
        module: Called with the inputs' tensors as its arguments, in their order.
        inputs: Example tensors by name.
        axes: Names of the dynamic axes of inputs and outputs, by their names.
        outputs: Names.
    """

    module: nn.Module
    inputs: dict[str, Tensor]
    axes: dict[str, dict[int, str]]
    outputs: list[str]


def _parts(model: VOSegmentor) -> dict[str, _Part]:
    """The graphs of a model, by name."""
    memory, strides = model.memory, decreasing_strides(model.key_encoder.backbone)
    image = torch.rand(1, 3, ROWS * strides[0], COLUMNS * strides[0])
    found = KeyGraph(model)(image)
    maps = dict(zip((f'map{stride}' for stride in strides), found[-len(strides) :], strict=True))
    axes = {'image': {2: 'height', 3: 'width'}}
    axes |= {f'map{stride}': {2: f'height/{stride}', 3: f'width/{stride}'} for stride in strides}
    keys = dict(zip(('query', 'selection', 'shrinkage'), found[: -len(strides)], strict=False))
    axes |= {name: {1: 'positions'} for name in keys}
    state, of_state = _example_state(model, keys['query'])
    parts = dict(key=_Part(KeyGraph(model), dict(image=image), axes, [*keys, *maps]))
    parts['read'] = _read_part(model, keys, state, of_state | axes)
    parts['decode'] = _decode_part(model, maps, image, axes)
    parts['value'] = _value_part(model, maps, image, axes)
    if isinstance(memory, SlotMemory):
        for name in ('select', 'select_prompted'):
            parts[name] = _select_part(model, state, of_state, name == 'select_prompted')
    return parts


def _example_state(model: VOSegmentor, query: Tensor) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
    """Tensors of a state by name, and their dynamic axes."""
    memory, (positions, width) = model.memory, query.shape[1:]
    bounded = isinstance(memory, SlotMemory)
    groups = OBJECTS if memory.per_object_key else 1
    slots = memory.num_slots if bounded else SLOTS
    stamps = torch.arange(slots).expand(1, groups, -1).contiguous()
    state = dict(
        key=torch.rand(1, groups, slots, positions, width),
        value=torch.rand(1, OBJECTS, slots, positions, model.value_encoder.value_channels),
        written_at=stamps,
        read_at=stamps.clone(),
        hits=stamps.float(),
        step=torch.tensor(slots),
    )
    if bounded and memory.selector.needs_relevance:
        state['relevance'] = stamps.float()
    if bounded and any(gate.needs_prompted for gate in memory.gates):
        state['prompted'] = stamps == 0
    of_slots = ({1: 'objects'} if memory.per_object_key else {}) | ({} if bounded else {2: 'slots'})
    axes = {name: of_slots for name in state} | dict(
        key=of_slots | {3: 'positions'}, value=of_slots | {1: 'objects', 3: 'positions'}, step={}
    )
    return state, axes


def _read_part(model: VOSegmentor, keys: dict, state: dict, axes: dict) -> _Part:
    usable, of_slots = state['written_at'] >= 0, axes['written_at']
    inputs = dict(query=keys['query'], key=state['key'], value=state['value'], usable=usable)
    axes = axes | dict(usable=of_slots, written=of_slots, slot_shrinkage=of_slots | {3: 'positions'})
    outputs = dict(readout={1: 'objects', 2: 'positions'}, share=of_slots)
    if model.presence is not None:
        inputs['written'] = usable.clone()
        outputs['distance'] = {axis: name for axis, name in of_slots.items() if axis == 1} | {2: 'positions'}
    if 'selection' in keys:
        slot_shrinkage = torch.rand_like(state['key'][..., 0]) + 1
        inputs.update(selection=keys['selection'], slot_shrinkage=slot_shrinkage)
    return _Part(ReadGraph(model.memory.reader, list(inputs)), inputs, axes | outputs, list(outputs))


def _decode_part(model: VOSegmentor, maps: dict, image: Tensor, axes: dict) -> _Part:
    first, of_grid = next(iter(maps.values())), next(axes[name] for name in maps)
    grid = first.shape[2:]
    readout = torch.rand(1, OBJECTS, *grid, model.value_encoder.value_channels)
    inputs = dict(readout=readout, image=image, **maps)
    of_objects = {1: '1+objects', 2: 'height', 3: 'width'}
    axes = axes | dict(readout={1: 'objects'} | of_grid, logits=of_objects, probabilities=of_objects)
    outputs = ['logits', 'probabilities']
    if model.presence is not None:
        own = model.memory.per_object_key
        inputs['distance'] = torch.rand(1, OBJECTS if own else 1, *grid)
        axes |= dict(distance=({1: 'objects'} if own else {}) | of_grid, presence={1: 'objects'})
        outputs.append('presence')
    return _Part(DecodeGraph(model, len(maps)), inputs, axes, outputs)


def _value_part(model: VOSegmentor, maps: dict, image: Tensor, axes: dict) -> _Part:
    name, first = next(iter(maps.items()))
    masks = torch.rand(1, OBJECTS, *image.shape[2:])
    outputs = ['new_value', *(['new_key'] if model.memory.per_object_key else [])]
    axes = axes | dict(masks={1: 'objects'} | axes['image'])
    axes |= {output: {1: 'objects', 2: 'positions'} for output in outputs}
    return _Part(ValueGraph(model), {'image': image, 'masks': masks, name: first}, axes, outputs)


def _select_part(model: VOSegmentor, state: dict, axes: dict, prompted: bool) -> _Part:
    entry = dict(new_key=state['key'][:, :, 0].clone(), new_value=state['value'][:, :, 0].clone())
    of_groups = {1: 'objects'} if model.memory.per_object_key else {}
    of_entry = dict(new_key=of_groups | {2: 'positions'}, new_value={1: 'objects', 2: 'positions'})
    if model.presence is not None and not prompted:
        entry['presence'], of_entry['presence'] = torch.rand(1, OBJECTS), {1: 'objects'}
    inputs = state | entry
    graph = SelectGraph(model.memory, list(inputs), prompted)
    return _Part(graph, inputs, axes | of_entry | dict(slot=of_groups), ['slot'])


def _write(path: Path, part: _Part) -> dict[str, Any]:
    """Write a graph; its inputs and outputs as they are in the contract.

    It is traced (``dynamo=False``), which is many times as fast as ``torch.export``. Sizes are traced too; a
    test runs others than those of the example.
    """
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of comparisons that are the same at all sizes
        torch.onnx.export(
            part.module.eval(),
            tuple(part.inputs.values()),
            str(path),
            input_names=list(part.inputs),
            output_names=part.outputs,
            opset_version=OPSET,
            dynamic_axes={name: part.axes[name] for name in [*part.inputs, *part.outputs]},
            dynamo=False,
        )
    inputs = [value.name for value in onnx.load(str(path)).graph.input]  # those that are used
    results = part.module(*part.inputs.values())
    results = results if isinstance(results, tuple) else (results,)
    outputs = dict(zip(part.outputs, results, strict=True))
    return dict(
        file=path.name,
        inputs={name: _describe(part.inputs[name], part.axes[name]) for name in inputs},
        outputs={name: _describe(tensor, part.axes[name]) for name, tensor in outputs.items()},
    )


def _convert(openvino: Any, folder: Path, graph: dict[str, Any]) -> None:
    """Put OpenVINO's files in the place of a graph. Its core reads ONNX itself; ``convert_model``, which can
    report its use over the network, is not called."""
    file = folder / graph['file']
    graph['file'] = file.with_suffix('.xml').name
    openvino.save_model(
        openvino.Core().read_model(str(file)), str(folder / graph['file']), compress_to_fp16=False
    )
    file.unlink()


def _describe(tensor: Tensor, axes: dict[int, str]) -> dict[str, Any]:
    shape = [axes.get(axis, size) for axis, size in enumerate(tensor.shape)]
    return dict(dtype=str(tensor.dtype).removeprefix('torch.'), shape=shape)
