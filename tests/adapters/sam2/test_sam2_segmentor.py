"""Streams of a tracker with our memory: state, prompts, memories by config, tools, errors."""

import runpy
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.analysis import get_model_complexity_info

pytest.importorskip('transformers', reason="needs the extra 'sam2'")

from helpers.davis_tree import add_sequence, draw_ids
from helpers.runs import ROOT
from helpers.sam2_cases import SAM2, SIDE, TRACKERS, frames, prompts, random_weights
from mmengine.config import Config
from PIL import Image

from mmstremn.adapters.sam2 import Sam2Segmentor, TrackerMemory, families
from mmstremn.apis import VOSInferencer, init_segmentor
from mmstremn.cli import main
from mmstremn.comparison.memory_file import load_memories
from mmstremn.comparison.setup import make_setup, own_weights_sha256
from mmstremn.datasets.io.masks import read_mask
from mmstremn.engine.launch import check_types
from mmstremn.memory import SELECTORS, FIFOSelector, KeepPrompted
from mmstremn.models import VOSegmentor
from mmstremn.models.stream_files import fork as fork_of
from mmstremn.utils.palette import encode_palette_png

MASK = np.zeros((48, 72), np.uint8)
MASK[10:30, 10:30] = 1


@pytest.fixture(scope='module')
def model():
    return segmentor()


def segmentor(memory: dict | None = None, **options) -> Sam2Segmentor:
    made = Sam2Segmentor(tracker=SAM2, memory=memory, **options)
    random_weights(made.tracker, 0)
    return made


def run(model: Sam2Segmentor, number: int = 12):
    stream, given = model.new_stream(), prompts()
    for index, frame in enumerate(frames(number, 0)):
        stream.step(frame, **given.get(index, {}))
    return stream


def test_state_is_bounded_and_a_saved_stream_goes_on_equally(model, tmp_path):
    stream = run(model, 10)
    size, frame = stream.nbytes, frames(1, 3)[0]
    stream.save(str(tmp_path / 's.safetensors'))
    again = model.load_stream(str(tmp_path / 's.safetensors'))
    for _ in range(8):
        assert torch.equal(stream.step(frame), again.step(frame))
        assert torch.equal(stream.logits, again.logits)
    assert stream.nbytes == size
    other = segmentor(dict(num_prompted=3))
    with pytest.raises(ValueError, match='num_prompted'):
        other.load_stream(str(tmp_path / 's.safetensors'))


def test_chunks_of_objects_change_nothing(model):
    whole, chunks = run(model), run(segmentor(objects_at_once=2))
    assert (whole.logits - chunks.logits).abs().max() < 1e-4


def test_what_is_given_is_returned_and_objects_end(model):
    stream = model.start(frames(1, 0)[0], MASK, points={5: [(60, 40)]})
    ids = stream.step(frames(2, 0)[1], np.where(MASK, 7, 0).astype(np.uint8))
    assert np.array_equal(ids.numpy() == 7, MASK > 0)
    stream.remove([1, 5])
    assert stream.object_ids == [7]
    assert stream.probabilities(frames(3, 0)[2]).shape == (2, 48, 72)


@pytest.mark.parametrize('selector', SELECTORS, ids=lambda selector: selector.__name__)
def test_every_selector_keeps_the_prompted_frames(selector):
    memory = dict(selector=dict(type=selector.__name__), num_slots=3, key='memory')
    stream = run(segmentor(memory))
    held = stream.state.written_at[0]
    assert held[:, :4].max(-1).values.tolist() == [0, 0, 0, 7]
    assert (held[:, 4:] >= 0).all(), 'slots of tracked frames are filled'
    assert torch.isfinite(stream.logits).all()


def test_feature_selector_gets_notes_of_tracked_frames(tmp_path):
    model = segmentor(dict(selector=dict(type='FeatureSelector'), num_slots=3, key='image'))
    stream, frame = run(model, 10), frames(1, 3)[0]
    notes = stream.state.notes[0, :3, 4:]  # covered, presence, confidence, prompted
    assert (notes[..., 0] > 0).all() and (notes[..., 0] < 16).all()
    assert (notes[..., 1:3] < 1).all() and not notes[..., 3].any()
    assert (stream.state.sightings[0, :, 0] > 0).all()
    stream.save(str(tmp_path / 's.safetensors'))
    again = model.load_stream(str(tmp_path / 's.safetensors'))
    assert torch.equal(stream.step(frame), again.step(frame))


def test_another_memory_of_the_same_tracker_is_that_of_a_model_built_with_it(model):
    memory = dict(type='DAM4SAM', least_iou=-10.0, size_change=10.0, most_overlap=1.0, stride=2)
    stream, built = run(model.with_memory(**memory)), run(segmentor(memory))
    assert stream.model.tracker is model.tracker and type(model.memory) is TrackerMemory
    assert (stream.state.added_at >= 0).any()
    for name, tensor in built.state.tensors().items():
        assert torch.equal(stream.state.tensors()[name], tensor), name


def test_dam4sam_streams_and_keeps_frames_with_distractors(tmp_path):
    memory = dict(type='DAM4SAM', least_iou=-10.0, size_change=10.0, most_overlap=1.0, stride=2)
    stream, frame = run(segmentor(memory)), frames(1, 3)[0]
    assert (stream.state.added_at >= 0).any()
    assert stream.state.written_at[0, :3, 1:5].max() > 0, 'a frame that nobody prompted is kept'
    size = stream.nbytes
    stream.save(str(tmp_path / 's.safetensors'))
    again = stream.model.load_stream(str(tmp_path / 's.safetensors'))
    for _ in range(8):
        assert torch.equal(stream.step(frame), again.step(frame))
    assert stream.nbytes == size and torch.isfinite(stream.logits).all()


def test_sam2long_streams_with_new_objects_and_corrections(tmp_path):
    stream = run(segmentor(dict(type='SAM2Long')), 13)
    assert stream.object_ids == [1, 2, 3, 4] and stream.logits.shape[0] == 4
    assert stream.state.value.shape[:2] == (3, 4)
    values, size, frame = stream.state.value.float(), stream.nbytes, frames(1, 3)[0]
    assert not torch.equal(values[0], values[1]), 'pathways differ'
    stream.save(str(tmp_path / 's.safetensors'))
    again = stream.model.load_stream(str(tmp_path / 's.safetensors'))
    for _ in range(3):
        assert torch.equal(stream.step(frame), again.step(frame))
    assert stream.nbytes == size and torch.isfinite(stream.logits).all()
    assert (stream.state.total[0] == 0).all(), 'the best comes first'
    stream.remove(2)
    assert stream.probabilities(frame).shape[0] == 4


def test_samurai_streams_with_new_objects_and_corrections(tmp_path):
    stream, frame = (
        run(segmentor(dict(type='SAMURAI', stable_after=2, stable_iou=-10.0)), 13),
        frames(1, 3)[0],
    )
    assert stream.state.stable.tolist() == [[2, 0, 2, 2]], 'the second was corrected at frame 12'
    stream.save(str(tmp_path / 's.safetensors'))
    again = stream.model.load_stream(str(tmp_path / 's.safetensors'))
    for _ in range(3):
        assert torch.equal(stream.step(frame), again.step(frame))
    assert stream.state.motion.isfinite().all() and (stream.state.motion[..., 3] > 0).all()


def test_one_pathway_of_sam2long_is_a_tracker_with_its_selector():
    one = run(segmentor(dict(type='SAM2Long', num_pathways=1)), 9)
    same = dict(
        num_slots=7, num_read=6, by_rank=True, gates=[], selector=dict(type='SAMURAISelector', iou=0.1)
    )
    assert torch.equal(one.logits, run(segmentor(same), 9).logits)


def test_forks_go_on_alone(model):
    stream = run(model, 6)
    fork, alone = fork_of(stream), run(model, 6)
    for frame in frames(4, 5):
        fork.step(frame, MASK)
    assert fork.index == 10 and stream.index == 6
    assert fork.object_ids == stream.object_ids
    for frame in frames(3, 8):
        assert torch.equal(stream.step(frame), alone.step(frame))
        assert torch.equal(stream.logits, alone.logits)
    for name, tensor in stream.state.tensors().items():
        assert torch.equal(tensor, alone.state.tensors()[name]), name


@pytest.mark.parametrize('name', ['LRUSelector', 'LFUSelector', 'UCBSelector'])
def test_usage_is_measured_where_a_selector_needs_it(name):
    stream = run(segmentor(dict(selector=dict(type=name), num_slots=3)))
    stamps = stream.state.written_at
    was_read = (stamps >= 0) & (stamps < stream.index - 1)
    assert (stream.state.hits[was_read] > 0).all()
    assert not stream.state.hits[~was_read].any()


def test_oldest_prompted_frame_but_the_first_gives_way(model):
    stream = segmentor(dict(num_prompted=3)).new_stream()
    for frame in frames(6, 0):
        stream.step(frame, MASK)
    assert sorted(stream.state.written_at[0, 0, :3].tolist()) == [0, 4, 5]


def test_frame_kept_for_long_has_the_code_of_the_oldest_place():
    memory = TrackerMemory(num_slots=3, selector=FIFOSelector(), num_prompted=1)
    stamps = [0, 1, 998, 999]
    assert memory.frames_to_read(stamps, 1000) == [(0, 0), (1, 6), (2, 2), (3, 1)]
    assert TrackerMemory(num_slots=3, num_prompted=1).frames_to_read(stamps, 1000) == [(0, 0), (2, 2), (3, 1)]
    ranked = TrackerMemory(num_slots=3, num_prompted=1, selector=FIFOSelector(), by_rank=True, num_read=2)
    assert ranked.frames_to_read(stamps, 1000) == [(0, 0), (2, 2), (3, 1)]


def test_prompted_frames_beyond_the_most_are_read_as_tracked_ones():
    memory = TrackerMemory(num_slots=2, num_prompted=3, max_prompted=1, horizon=6)
    assert memory.frames_to_read([0, 5, 8, 9, 7], 10) == [(2, 0), (1, 5), (4, 3), (3, 1)]


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (dict(points={1: [(80, 10)]}), 'outside the frame of 72 x 48'),
        (dict(points={1: [(-1, 10)]}), 'outside the frame'),
        (dict(points={1: [(5, 5, 2)]}), 'labels must be 1'),
        (dict(points={1: []}), 'expected a dict of object id'),
        (dict(points={0: [(5, 5)]}), 'ids must be in 1..254'),
        (dict(points={1: [(5, float('nan'))]}), 'not finite'),
        (dict(boxes={1: (10, 10, 10, 20)}), 'empty'),
        (dict(boxes={1: (10, 10, 90, 20)}), 'not inside the frame'),
        (dict(boxes={1: (10, 10, 20)}), 'expected a dict of object id'),
        (dict(masks=MASK, index=0), 'it has passed'),
        (dict(masks=MASK, index=9), 'has not come yet'),
    ],
)
def test_wrong_prompts_leave_the_stream_as_it_was(model, given, message):
    stream = model.start(frames(1, 0)[0], MASK)
    with pytest.raises(ValueError, match=message):
        stream.step(frames(1, 0)[0], **given)
    assert stream.index == 1 and stream.object_ids == [1]


def test_operations_of_one_call_are_not_counted(model):
    with pytest.raises(ValueError, match='only segments videos: expected a data sample for each'):
        get_model_complexity_info(model, (3, 64, 96))


def test_prompts_of_wrong_types(model):
    stream = model.new_stream()
    for given in (dict(points=[(1, 2)]), dict(boxes={'a': (1, 2, 3, 4)}), dict(points={1: 'here'})):
        with pytest.raises(TypeError):
            stream.step(frames(1, 0)[0], **given)


def test_wrong_options_are_named():
    for options, message in (
        (dict(), 'either checkpoint'),
        (dict(tracker=dict(model_type='bert')), "type 'bert', expected one of sam2_video"),
        (dict(tracker=SAM2, dtype='float16'), 'float32, bfloat16'),
        (dict(tracker=SAM2, objects_at_once=0), 'at least 1'),
        (dict(tracker=SAM2, memory=dict(num_slots=0)), 'num_slots'),
        (dict(tracker=SAM2, memory=dict(key='mask')), 'none, memory, image'),
        (dict(tracker=SAM2, memory=dict(selector=dict(type='MostSimilarSelector'))), 'compares keys'),
        (dict(tracker=SAM2, memory=dict(gates=[KeepPrompted()])), 'num_prompted'),
        (dict(tracker=SAM2 | dict(num_maskmem=0)), 'no memory'),
        (dict(tracker=SAM2, memory=dict(type='GrowingMemory')), 'TrackerMemory, .* got GrowingMemory'),
        (dict(tracker=SAM2, memory=dict(num_prompted=0)), 'num_prompted must be at least 1, got 0'),
    ):
        with pytest.raises(ValueError, match=message):
            Sam2Segmentor(**options)


def test_checkpoint_folders_load_and_others_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    tracker = segmentor().tracker
    tracker.save_pretrained(tmp_path / 'whole')
    loaded = Sam2Segmentor(checkpoint=str(tmp_path / 'whole'))
    assert torch.equal(loaded.tracker.no_memory_embedding, tracker.no_memory_embedding)
    weights = tracker.state_dict()
    weights.pop('no_object_pointer')
    tracker.save_pretrained(tmp_path / 'part', state_dict=weights)
    with pytest.raises(ValueError, match='lacks 1 weights of Sam2VideoModel, such as no_object_pointer'):
        Sam2Segmentor(checkpoint=str(tmp_path / 'part'))
    key = 'memory_temporal_positional_encoding'
    whole = tracker.state_dict()
    for wrong, message in (
        (torch.zeros(3, 3), 'has 1 weights of other shapes'),
        (torch.full_like(whole[key], torch.nan), 'has 1 weights that are not finite'),
    ):
        tracker.save_pretrained(tmp_path / 'wrong', state_dict=whole | {key: wrong})
        with pytest.raises(ValueError, match=f'wrong.*{message}.*such as {key}'):
            Sam2Segmentor(checkpoint=str(tmp_path / 'wrong'))
    (tmp_path / 'wrong/model.safetensors').write_bytes(b'none')
    with pytest.raises(ValueError, match=r'wrong.*cannot be read'):
        Sam2Segmentor(checkpoint=str(tmp_path / 'wrong'))
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match=r'empty.*config\.json'):
        Sam2Segmentor(checkpoint=str(tmp_path / 'empty'))
    (tmp_path / 'bert').mkdir()
    (tmp_path / 'bert/config.json').write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="'bert', expected one of"):
        Sam2Segmentor(checkpoint=str(tmp_path / 'bert'))
    with pytest.raises(FileNotFoundError, match=r'config\.json and model\.safetensors'):
        Sam2Segmentor(checkpoint=str(tmp_path / 'nowhere'))


@pytest.mark.parametrize('name', ['nofolder', './no/folder', 'work_dirs/sam2', 'a/b/c', '/no/folder'])
def test_a_folder_that_is_not_there_is_refused_without_asking_the_hub(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'work_dirs').mkdir()
    asked = []
    library = SimpleNamespace(PretrainedConfig=SimpleNamespace(get_config_dict=asked.append))
    monkeypatch.setattr(families, 'transformers', lambda: library)
    with pytest.raises(FileNotFoundError, match=f"'{name}': there is no such folder.* such as facebook/sam2"):
        families.load_tracker(name)
    assert not asked
    with pytest.raises(TypeError):  # what a name on the hub leads to here: it was asked for
        families.load_tracker('facebook/sam2.1-hiera-tiny')
    assert asked == ['facebook/sam2.1-hiera-tiny']


def test_a_folder_takes_the_place_of_the_weights_of_a_config(model, tmp_path, monkeypatch):
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    model.tracker.save_pretrained(tmp_path / 'folder')
    for config in ('adapters/sam2/sam2.1_tiny.py', 'adapters/sam2/random_small.py'):
        given = init_segmentor(config, tmp_path / 'folder', 'cpu')
        assert torch.equal(given.tracker.no_memory_embedding, model.tracker.no_memory_embedding)
    frame, given = frames(1, 0)[0], VOSInferencer('adapters/sam2/edgetam.py', str(tmp_path / 'folder'), 'cpu')
    (found,) = given([frame], {0: dict(boxes={2: (45, 25, 70, 46)})})
    assert np.array_equal(found.ids, model.new_stream().step(frame, boxes={2: (45, 25, 70, 46)}))
    with pytest.raises(FileNotFoundError, match='folder with config'):
        init_segmentor('adapters/sam2/sam2.1_tiny.py', tmp_path / 'folder/model.safetensors', 'cpu')
    with pytest.raises(ValueError, match=r'Sam2Segmentor is model\.dtype'):
        init_segmentor('adapters/sam2/random_small.py', device='cpu', precision='bfloat16')


@pytest.mark.parametrize('tracker', TRACKERS.values(), ids=TRACKERS)
def test_bfloat16_is_float32_but_for_rounding(tracker):
    whole, half = (Sam2Segmentor(tracker=tracker, dtype=dtype) for dtype in ('float32', 'bfloat16'))
    random_weights(whole.tracker, 0)
    half.tracker.load_state_dict(whole.tracker.state_dict())
    whole, half = run(whole, 9), run(half, 9)
    assert half.logits.dtype == torch.bfloat16
    seen = whole.logits > -1000
    assert torch.equal(half.logits > -1000, seen)
    assert (half.logits - whole.logits)[seen].abs().max() < 0.1 * whole.logits[seen].std() + 0.02


def test_transformers_absent_or_too_old(monkeypatch):
    monkeypatch.setattr(families, 'version', lambda name: '4.57.1')
    with pytest.raises(ImportError, match=r'>= 5\.23, found 4\.57\.1'):
        Sam2Segmentor(tracker=SAM2)
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(ModuleNotFoundError, match='mmstremn\\[sam2\\]'):
        Sam2Segmentor(tracker=SAM2)


def test_models_without_points_say_so():
    from helpers.vos_cases import tiny_model

    model = tiny_model()
    assert isinstance(model, VOSegmentor)
    for given in (dict(points={1: [(5, 5)]}), dict(boxes={1: (2, 2, 9, 9)})):
        with pytest.raises(ValueError, match=r'such as that of the config adapters/sam2/sam2\.1_tiny\.py'):
            model.start(frames(1, 0)[0], **given)
    stream = model.new_stream()
    with pytest.raises(ValueError, match='VOSegmentor cannot use points and boxes'):
        stream.step(frames(1, 0)[0], points={1: [(5, 5)]})


@pytest.mark.parametrize('path', sorted((ROOT / 'configs/adapters/sam2').glob('*.py')), ids=lambda p: p.stem)
def test_configs_name_what_is_registered(path):
    cfg = Config.fromfile(path)
    check_types(cfg)
    assert cfg.model.get('checkpoint') or cfg.model.tracker.image_size in (SIDE, 256)


def test_every_memory_of_the_memory_file_streams():
    for name, memory in load_memories('adapters/sam2/_base_/memories.py').items():
        stream = run(segmentor(memory), 3)
        assert torch.isfinite(stream.logits).all(), name


def test_a_comparison_takes_the_weights_of_the_config(tmp_path, monkeypatch):
    config, folder = 'adapters/sam2/sam2.1_tiny.py', {'model.checkpoint': str(tmp_path)}
    setup = make_setup(config, {})
    assert not setup['train'] and setup['weights'] is None and setup['weights_sha256'] is None
    digests = []
    for content in (b'one', b'other'):
        (tmp_path / 'model.safetensors').write_bytes(content)
        digests.append(make_setup(config, folder)['weights_sha256'])
    assert None not in digests and digests[0] != digests[1]
    monkeypatch.chdir(tmp_path)
    assert own_weights_sha256(dict(tracker=SAM2)) is None, 'a file beside is not that of random weights'
    for given in (dict(checkpoint='x.pth'), dict(start='x.pth'), dict(iters=5)):
        with pytest.raises(ValueError, match=r'--cfg-options model\.checkpoint=FOLDER'):
            make_setup(config, {}, **given)


def test_test_tool_runs_without_a_checkpoint_file(tmp_path):
    add_sequence(tmp_path / 'data', 'squares', [draw_ids(index, (1, 2)) for index in range(4)])
    tool = runpy.run_path(str(ROOT / 'tools/test.py'))['main']
    options = [f'test_dataloader.dataset.data_root={tmp_path / "data"}', 'test_dataloader.num_workers=0']
    options += ['test_dataloader.dataset.split=val', 'custom_hooks=[]']
    config = str(ROOT / 'configs/adapters/sam2/random_small.py')
    metrics = tool([config, '--work-dir', str(tmp_path / 'work'), '--cfg-options', *options])
    assert any('J&F' in name for name in metrics)
    segmentor().tracker.save_pretrained(tmp_path / 'folder')
    config = str(ROOT / 'configs/adapters/sam2/sam2.1_tiny.py')
    work = ['--work-dir', str(tmp_path / 'folder_work')]
    assert tool([config, str(tmp_path / 'folder'), *work, '--cfg-options', *options]) != metrics
    with pytest.raises(ValueError, match='expected a checkpoint'):
        tool([str(ROOT / 'configs/stremn_davis.py'), '--work-dir', str(tmp_path / 'work')])


def test_command_takes_points_and_boxes(model, tmp_path, monkeypatch):
    """Beside a mask and alone, at the first frame and at another; as a stream that is given the same."""
    shots, point, box = frames(5, 0), (38.5, 25, 1), (45, 25, 70, 46)
    monkeypatch.setattr('mmstremn.apis.vos_inferencer.init_segmentor', lambda *args: model)
    (tmp_path / 'shots').mkdir()
    for index, shot in enumerate(shots):
        Image.fromarray(shot).save(tmp_path / f'shots/{index}.png')
    (tmp_path / 'mask.png').write_bytes(encode_palette_png(MASK))
    argv = [
        'segment',
        str(tmp_path / 'shots'),
        '--mask',
        str(tmp_path / 'mask.png'),
        '--point',
        '2:38.5,25,1',
    ]
    argv += ['--point', '2:10,40,0', '--box', '3:3:45,25,70,46', '--output', 'masks', '--output', 'slots']
    argv += ['--config', str(ROOT / 'configs/adapters/sam2/random_small.py'), '--out', str(tmp_path / 'out')]
    assert main([*argv, '--direction', 'forward']) == 0
    stream = model.start(shots[0], MASK, {2: [point, (10, 40, 0)]})
    for index in range(1, 5):
        ids = stream.step(shots[index], boxes={3: box} if index == 3 else None).numpy()
        assert np.array_equal(read_mask(tmp_path / f'out/masks/{index}.png'), ids)
    assert (tmp_path / 'out/slots.png').exists()


def test_short_side_is_refused(model):
    with pytest.raises(ValueError, match='Sam2Segmentor computes at a size of its own'):
        VOSInferencer(model, short_side=32)


def test_inferencers_and_sessions_take_points_and_boxes(model):
    shots, given = frames(6, 0), dict(points={1: [(14, 12)]}, boxes={2: (45, 25, 70, 46)})
    stream = model.new_stream()
    expected = [stream.step(shot, **(given if t == 0 else {})).numpy() for t, shot in enumerate(shots)]
    assert expected[0].any()
    inferencer = VOSInferencer(model)
    for source, prompts_of in ((shots, {0: given}), (iter(shots), given)):
        found = [result.ids for result in inferencer(source, prompts_of)]
        assert len(found) == 6 and all(map(np.array_equal, found, expected))
    with inferencer.session(shots, given) as session:
        assert len(list(session.run())) == 6
        session.correct(5, boxes={2: (40, 20, 60, 40)})
        session.correct(5, MASK)
        assert session.given(5).objects == [1, 2] and session.given(5).masks.objects == [1]
        assert session.pending() == [3, 4, 5]
        session.remove(2)
        assert session.object_ids == [1] and session.given(5).objects == [1]
    with pytest.raises(ValueError, match='set in its config'):
        VOSInferencer(model, precision='bfloat16')


def test_corrections_refine_masks_in_sessions_and_by_the_command(model, tmp_path, monkeypatch):
    """As a stream that is given the same."""
    shots, points = frames(3, 0), {1: [(12, 12, 0), (25, 25, 1)]}
    stream = model.start(shots[0], MASK, points)
    expected = [stream.step(shot).numpy() for shot in shots[1:]]
    with VOSInferencer(model).session(shots, MASK) as session:
        list(session.run())
        session.correct(0, MASK, points)
        assert session.given(0).objects == [1] and session.pending() == [0, 1, 2]
        found = [result.ids for result in session.run()]
        assert all(map(np.array_equal, found[1:], expected)) and not np.array_equal(found[0], MASK)
    monkeypatch.setattr('mmstremn.apis.vos_inferencer.init_segmentor', lambda *args: model)
    (tmp_path / 'shots').mkdir()
    for index, shot in enumerate(shots):
        Image.fromarray(shot).save(tmp_path / f'shots/{index}.png')
    (tmp_path / 'mask.png').write_bytes(encode_palette_png(MASK))
    argv = ['segment', str(tmp_path / 'shots'), '--mask', str(tmp_path / 'mask.png'), '--output', 'masks']
    argv += ['--point', '1:12,12,0', '--point', '1:25,25', '--out', str(tmp_path / 'out')]
    assert main([*argv, '--config', str(ROOT / 'configs/adapters/sam2/random_small.py')]) == 0
    assert all(np.array_equal(read_mask(tmp_path / f'out/masks/{t}.png'), found[t]) for t in range(3))
