"""What only a GPU shows: bfloat16, compiled steps, NCCL, pinned memory, a host that never waits.

    python -m pytest tests/gpu -m gpu

Without a GPU they are skipped. ``MMSTREMN_TEST_DEVICE=cpu`` runs them on the CPU, which shows that the tests
are right in form: gloo takes the place of NCCL, no memory is pinned, and a watch on operations that of CUDA's
synchronisation.
"""

import copy
import os
from contextlib import contextmanager, nullcontext

import pytest
import torch
from helpers.bounded_memories import BOUNDED, name_of
from helpers.memory_cases import (
    assert_close,
    assert_equal_states,
    build_memory,
    full_clip,
    on_tensors,
    run,
    widths_of,
)
from helpers.no_questions import NoQuestions
from helpers.predictor_cases import PREDICTION, tiny_predictor
from helpers.runs import SMALL_VOS, largest_difference, run_script, run_tool
from helpers.vos_cases import SquaresVideo, make_clip, tiny_model
from mmengine.config import Config
from mmengine.runner import Runner

from mmstremn.memory import GATES, SELECTORS, SlotMemory
from mmstremn.registry import MODELS

DEVICE = os.environ.get('MMSTREMN_TEST_DEVICE', 'cuda')
ON_GPU = DEVICE != 'cpu'
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(ON_GPU and not torch.cuda.is_available(), reason='no GPU'),
]
EVERY_MEMORY = pytest.mark.parametrize(('memory_class', 'settings'), BOUNDED, ids=name_of)
TIE = 1e-3  # of two probabilities: rounding decides which object a pixel belongs to
# Two iterations whose weights can be compared: Adam makes whole steps of gradients that are nearly 0.
COMPARABLE = ['train_cfg.max_iters=2', 'optim_wrapper.optimizer.type=SGD', 'optim_wrapper.optimizer.lr=0.1']


@contextmanager
def full_float32():
    """Convolutions and products without TF32."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before


@contextmanager
def the_host_never_waits():
    """An operation for which the host waits fails."""
    if not ON_GPU:
        with NoQuestions():
            yield
        return
    torch.cuda.set_sync_debug_mode('error')
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode('default')


def stream_on_device(length=14):
    """Entries and queries of two objects."""
    entries, queries = full_clip(length, objects=2, prompted=(0, 4))
    return tuple([on_tensors(each, lambda x: x.to(DEVICE)) for each in data] for data in (entries, queries))


def check_the_cpu_has_the_same(memory):
    """The state and the readouts of a stream."""
    entries, queries = full_clip(14, batch=2, objects=2, prompted=(0, 4))
    with torch.no_grad(), full_float32():
        expected_state, expected = run(memory, entries, queries, seeds=(3, 4))
        there = [[on_tensors(each, lambda x: x.to(DEVICE)) for each in data] for data in (entries, queries)]
        state, readouts = run(copy.deepcopy(memory).to(DEVICE), *there, seeds=(3, 4))
    assert {tensor.device.type for tensor in [*readouts, *state.tensors().values()]} == {DEVICE}
    assert_close(torch.stack(readouts).cpu(), torch.stack(expected), 1e-4)
    assert_equal_states(state.to('cpu'), expected_state, 1e-4)


@EVERY_MEMORY
def test_a_memory_holds_and_answers_what_it_does_on_the_cpu(memory_class, settings):
    check_the_cpu_has_the_same(build_memory(memory_class, **settings))


@pytest.mark.parametrize('part_class', [*SELECTORS, *GATES], ids=lambda cls: cls.__name__)
def test_slots_choose_as_on_the_cpu(part_class):
    part = part_class(**widths_of(part_class))
    parts = dict(selector=part) if part_class in SELECTORS else dict(gates=[part])
    check_the_cpu_has_the_same(build_memory(SlotMemory, num_slots=2, **parts))


def probabilities(model, device):
    """(T, O + 1, H, W) of a short video on the CPU."""
    frames, sample = make_clip(0, length=8)
    frames = (frames.permute(0, 2, 3, 1) * 255).byte()
    stream = model.to(device).eval().start(frames[0], sample.masks[0])
    return torch.stack([stream.probabilities(frame) for frame in frames[1:]]).cpu()


def test_segmentation_has_the_probabilities_of_the_cpu():
    model = tiny_model()
    expected = probabilities(model, 'cpu')
    with full_float32():
        torch.testing.assert_close(probabilities(model, DEVICE), expected, rtol=0, atol=1e-3)


def test_segmentation_in_bfloat16_is_nearly_that_in_float32():
    model = tiny_model()
    before = probabilities(model, DEVICE)
    model.precision = 'bfloat16'
    after = probabilities(model, DEVICE)
    assert after.dtype == torch.float32
    assert 0 < (after - before).abs().max() < 0.05


def compiled(function):
    """By inductor; on the CPU without generated code, whose compilation takes minutes."""
    return torch.compile(function, backend='inductor' if ON_GPU else 'aot_eager')


@EVERY_MEMORY
def test_a_compiled_step_of_a_memory_is_the_same(memory_class, settings):
    memory = copy.deepcopy(build_memory(memory_class, **settings)).to(DEVICE)  # parts stay where they are
    entries, queries = stream_on_device(6)

    def step(state, entry, query):
        readout, state = memory.read(state, query)
        return readout, memory.write(state, entry)

    torch.compiler.reset()
    streams = []
    with torch.no_grad(), full_float32():
        for function in (step, compiled(step)):
            state, readouts = memory.write(memory.init(entries[0]), entries[0]), []
            for entry, query in zip(entries[1:], queries[1:], strict=True):
                readout, state = function(state, entry, query)
                readouts.append(readout)
            streams.append(torch.stack(readouts))
    torch.testing.assert_close(*streams, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', ['VideoPredictor', 'SimVP'])
def test_a_compiled_predictor_is_the_same(name):
    if name == 'SimVP':
        sizes = dict(input_frames=3, spatial_channels=4, translator_channels=8, translator_layers=3)
        model = MODELS.build(dict(type='SimVP', **sizes)).eval()
    else:
        model = tiny_predictor(dict(type='SlotMemory', num_slots=2))
    model, frames = model.to(DEVICE), torch.rand(2, 4, 1, 16, 16).to(DEVICE)
    torch.compiler.reset()
    with torch.no_grad(), full_float32():
        torch.testing.assert_close(compiled(model)(frames), model(frames), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('memory', [dict(type='SlotMemory', num_slots=3), dict(type='GrowingMemory')])
def test_a_compiled_stream_has_the_same_ids(memory):
    video = SquaresVideo(8)
    eager, stream = (
        tiny_model(memory).to(DEVICE).eval().start(video.frame(0), video.mask(0)) for _ in range(2)
    )
    torch.compiler.reset()
    faster = compiled(stream.probabilities)
    with full_float32():
        for index in range(1, video.num_frames):
            frame = video.frame(index)
            expected, found = eager.probabilities(frame), faster(frame)
            torch.testing.assert_close(found, expected, rtol=0, atol=TIE / 2)
            first, second = expected.topk(2, 0).values
            sure = first - second > TIE
            assert sure.any()
            assert (stream.ids_of(found) == eager.ids_of(expected))[sure].all()


@EVERY_MEMORY
def test_a_step_of_a_memory_never_makes_the_host_wait(memory_class, settings):
    check_no_waiting(build_memory(memory_class, **settings))


@pytest.mark.parametrize('selector_class', SELECTORS, ids=lambda cls: cls.__name__)
def test_a_step_with_a_selector_never_makes_the_host_wait(selector_class):
    selector = selector_class(**widths_of(selector_class))
    check_no_waiting(build_memory(SlotMemory, num_slots=2, selector=selector))


def check_no_waiting(memory):
    memory = copy.deepcopy(memory).to(DEVICE)  # parts stay where they are
    entries, queries = stream_on_device()
    with torch.no_grad():
        state = memory.write(memory.init(entries[0]), entries[0])
        for index in range(1, len(entries)):
            watch = (
                the_host_never_waits() if index > 2 else nullcontext()
            )  # the first steps may make constants
            with watch:
                readout, state = memory.read(state, queries[index])
                state = memory.write(state, entries[index])
    assert readout.isfinite().all() and readout.device.type == DEVICE


def test_the_watch_sees_a_host_that_waits():
    value = torch.ones(1, device=DEVICE)
    with pytest.raises((AssertionError, RuntimeError)), the_host_never_waits():
        bool(value > 0)


@pytest.mark.parametrize('options', [[], ['--amp']], ids=['float32', 'amp'])
def test_one_process_trains_under_torchrun(options, tmp_path):
    more = ['--cfg-options', 'train_cfg.max_iters=2']
    text = run_script(
        'dist_train.sh', SMALL_VOS, 1, '--work-dir', tmp_path, *options, *more, NCCL_DEBUG='INFO'
    )
    assert all(value.isfinite().all() for value in weights(tmp_path).values())
    assert ('NCCL INFO' in text) == ON_GPU


def weights(folder):
    return torch.load(folder / 'iter_2.pth', weights_only=False, map_location='cpu')['state_dict']


def test_pinned_memory_trains_the_same_weights(tmp_path):
    loader = ['train_dataloader.num_workers=1', 'train_dataloader.pin_memory=']
    for pinned in (False, True):
        options = [*COMPARABLE, loader[0], f'{loader[1]}{pinned}']
        assert (
            run_tool('train', [SMALL_VOS, '--work-dir', tmp_path / str(pinned), '--cfg-options', *options])
            == 0
        )
    assert largest_difference(weights(tmp_path / 'False'), weights(tmp_path / 'True')) <= 1e-4


def test_batches_come_in_pinned_memory():
    cfg = Config.fromfile(PREDICTION / 'simvp_occluded_digits.py').train_dataloader
    cfg.update(batch_size=2, num_workers=1, persistent_workers=False, pin_memory=True)
    batch = next(iter(Runner.build_dataloader(cfg, seed=0)))
    assert all(clip.is_pinned() == ON_GPU for clip in batch['inputs'])
    preprocessor = MODELS.build(dict(type='PredictionDataPreprocessor', non_blocking=True)).to(DEVICE)
    moved = preprocessor(batch)['inputs'].cpu()
    assert torch.equal(moved, torch.stack(batch['inputs']).float() / 255)
