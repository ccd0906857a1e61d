"""VOSInferencer: what it takes, what it gives, what it refuses."""

import itertools
import threading
from pathlib import PurePath

import numpy as np
import pytest
import torch
from helpers.runs import ROOT
from helpers.vos_cases import SquaresVideo, tiny_model
from mmengine.config import Config
from PIL import Image

from mmstremn.apis import VOSInferencer, init_segmentor, named_models
from mmstremn.apis.model_names import resolve_model, terms_of
from mmstremn.datasets import open_video
from mmstremn.datasets.io.frame_sources import ArrayVideo, LiveVideo, frame_names, iterate_run, open_source
from mmstremn.datasets.io.masks import read_mask
from mmstremn.models import VOSStream
from mmstremn.utils.palette import encode_palette_png
from mmstremn.visualization import write_video

T = 6
VIDEO = SquaresVideo(T)
FRAMES = [VIDEO.frame(t) for t in range(T)]


@pytest.fixture(scope='module')
def inferencer():
    return VOSInferencer(tiny_model())


@pytest.fixture(scope='module')
def expected(inferencer):
    stream = inferencer.model.start(FRAMES[0], VIDEO.mask(0))
    return [VIDEO.mask(0), *(stream.step(frame).numpy() for frame in FRAMES[1:])]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('videos')
    (folder / 'shots').mkdir()
    for t, frame in enumerate(FRAMES):
        Image.fromarray(frame).save(folder / f'shots/{t}.png')
        (folder / f'mask{t}.png').write_bytes(encode_palette_png(VIDEO.mask(t)))
    write_video(folder / 'clip.mp4', FRAMES)
    return folder


def same(results, expected):
    found = [result.ids for result in results]
    return len(found) == len(expected) and all(map(np.array_equal, found, expected))


def test_folders_arrays_iterators_and_videos_give_the_same(inferencer, expected, folder):
    mask = VIDEO.mask(0)
    for source in (folder / 'shots', str(folder / 'shots'), FRAMES, np.stack(FRAMES), iter(FRAMES), VIDEO):
        assert same(inferencer(source, mask), expected)
    assert same(inferencer(VIDEO, {0: folder / 'mask0.png'}), expected)
    assert same(inferencer(PurePath(folder, 'shots'), PurePath(folder, 'mask0.png')), expected)
    results = list(inferencer(folder / 'clip.mp4', folder / 'mask0.png', return_vis=True))
    assert [result.index for result in results] == list(range(T)) and results[0].video == 'clip'
    assert results[0].visualization.shape == FRAMES[0].shape and results[0].visualization.std() > 0


def test_several_videos_one_after_the_other(inferencer, expected, folder, tmp_path):
    results = list(inferencer([folder / 'shots', VIDEO], [VIDEO.mask(0)] * 2, out_dir=tmp_path))
    assert [result.video for result in results] == ['shots'] * T + ['squares0'] * T
    assert same(results[:T], expected) and same(results[T:], expected)
    assert np.array_equal(read_mask(tmp_path / 'shots/00003.png'), expected[3])
    with pytest.raises(ValueError, match='expected one for each of the 2 inputs, got 1'):
        inferencer([folder / 'shots', VIDEO], [VIDEO.mask(0)])


def test_masks_are_mixed_with_nothing(inferencer, folder, tmp_path):
    """Other videos of the same name, the frames themselves, an earlier run on a longer video."""
    first, video = VIDEO.mask(0), ArrayVideo(FRAMES[:2], 'shots')
    with pytest.raises(ValueError, match="several videos are called 'shots'"):
        inferencer([folder / 'shots', video], [first, first], out_dir=tmp_path)
    with pytest.raises(ValueError, match='shots holds frames or masks of the video'):
        inferencer(folder / 'shots', first, out_dir=folder)
    with pytest.raises(ValueError, match=r"the name '\.\./shots' leads out of its folder"):
        inferencer(ArrayVideo(FRAMES, '../shots'), first, out_dir=tmp_path / 'out')
    list(inferencer(folder / 'shots', first, out_dir=tmp_path))
    (tmp_path / 'shots/notes.png').touch()
    list(inferencer(video, first, out_dir=tmp_path))
    assert sorted(path.name for path in (tmp_path / 'shots').iterdir()) == [
        '00000.png',
        '00001.png',
        'notes.png',
    ]


def test_a_camera_is_asked_for_masks_as_it_goes(inferencer, expected):
    endless = itertools.cycle(FRAMES)
    results = inferencer(endless, lambda index, frame: VIDEO.mask(0) if index == 0 else None)
    assert same(itertools.islice(results, T), expected)


def test_objects_are_removed_at_a_frame(inferencer):
    """Of a video that is stored and of one that is not."""
    mask, known = VIDEO.mask(0), [True] * 3 + [False] * 3
    for removals in ({3: [3]}, {np.int64(3): np.int64(3)}):
        for source in (FRAMES, iter(FRAMES)):
            assert [3 in result.confidence for result in inferencer(source, mask, removals=removals)] == known
    both = list(inferencer([VIDEO, ArrayVideo(FRAMES)], [mask] * 2, removals=[{}, {3: {3}}]))
    assert [3 in result.confidence for result in both] == [True] * T + known
    with inferencer.session(VIDEO, mask, removals={3: 3}) as session:
        assert session.plan.removals == {3: {3}}


@pytest.mark.parametrize(
    'removals, error, message',
    [
        ({3: 9}, ValueError, r'removal at frame 3: no object 9 before it, expected one of \[3\]'),
        ({T: 3}, ValueError, rf'removal at frame {T}: expected a frame in 0\.\.{T - 1}'),
        ({'3': [3]}, TypeError, r'removals: expected ids of objects by frame, such as \{120: \[2\]\}'),
        ({3: ['3']}, TypeError, 'removals: expected ids of objects by frame'),
        ([3], TypeError, r'removals: expected ids of objects by frame, .*, got \[3\]'),
    ],
)
def test_removals_of_nothing_are_refused_before_a_frame_is_computed(inferencer, removals, error, message):
    with pytest.raises(error, match=message):
        inferencer(FRAMES, VIDEO.mask(0), removals=removals)


def test_a_removal_of_nothing_from_a_live_video_is_named():
    with pytest.raises(ValueError, match=r'removal at frame 3: no object 9 before it, expected one of \[3\]'):
        list(VOSInferencer(tiny_model())(iter(FRAMES), VIDEO.mask(0), removals={3: 9}))


def test_what_is_given_to_several_videos_is_a_list(inferencer):
    for given in (
        dict(masks=None),
        dict(masks={0: VIDEO.mask(0)}),
        dict(masks=[VIDEO.mask(0)], removals={3: 3}),
    ):
        with pytest.raises(TypeError, match='expected a list of one for each of the 1 inputs'):
            inferencer([VIDEO], **given)


def test_a_list_of_pictures_is_one_video(inferencer, expected, tmp_path):
    """In the order of the list; frames of one name in several folders are told apart by their numbers."""
    files = [tmp_path / f'part{t % 2}' / f'{T - t // 2}.png' for t in range(T)]
    for path, frame in zip(files, FRAMES, strict=True):
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(frame).save(path)
    assert same(inferencer(files, VIDEO.mask(0)), expected)
    video = open_source([str(path) for path in files])
    assert (video.name, video.num_frames, frame_names(video)[-1]) == ('part0', T, f'{T - 1:05d}')
    assert frame_names(open_source(files[::2])) == [path.stem for path in files[::2]]
    for paths in (iter(files), np.array([str(path) for path in files])):
        assert open_video(paths).num_frames == T
    for array in (np.array([str(path) for path in files]), np.array(files)):
        assert same(inferencer(array, VIDEO.mask(0)), expected)
    results = inferencer([files, files[:2]], [VIDEO.mask(0)] * 2)
    assert [result.index for result in results] == [*range(T), 0, 1]
    for wrong, message in (
        ([*files, tmp_path / 'a.mp4'], r'frame 6 of 7: expected the path of a picture .*a\.mp4'),
        ([*files, FRAMES[0]], 'frame 6 of 7: expected the path of a picture .*, got array'),
        ([], 'expected at least one frame'),
    ):
        with pytest.raises(ValueError, match=message):
            open_source(wrong)
    with pytest.raises(FileNotFoundError, match=r'none\.png'):
        open_source([*files, tmp_path / 'none.png'])


def test_the_call_checks_before_it_computes(inferencer, folder):
    for source, masks, error, message in (
        (folder / 'none.mp4', VIDEO.mask(0), FileNotFoundError, 'none.mp4: no such file'),
        (VIDEO, None, ValueError, 'squares0: no masks are given'),
        (iter(FRAMES), None, ValueError, 'live: no masks are given'),
        (VIDEO, {9: folder / 'mask0.png'}, ValueError, r'mask0.png: frame 9, expected one of 0\.\.5'),
        (VIDEO, {0: VIDEO.mask(0)[:9]}, ValueError, r'expected the size of the frame \(40, 56\)'),
        (VIDEO, {0: VIDEO.mask(0) * 0}, ValueError, 'hold no object'),
        ([FRAMES[0], FRAMES[1][:9]], VIDEO.mask(0), ValueError, 'frame 1 is'),
        (3.5, VIDEO.mask(0), TypeError, 'expected a video file, a folder'),
        (np.array('a.mp4'), VIDEO.mask(0), ValueError, 'frame 0 of 1: expected the path of a picture'),
        (np.array(3), VIDEO.mask(0), ValueError, r'frame 0: expected \(H, W, 3\) uint8 RGB, got \(\) int64'),
    ):
        with pytest.raises(error, match=message):
            inferencer(source, masks)
    with pytest.raises(ValueError, match='expected a video whose frames can be read in any order'):
        inferencer.session(iter(FRAMES))
    with pytest.raises(OSError, match='camera 99: cannot be opened'):
        open_source(99)


def test_frames_backwards_are_decoded_in_windows(monkeypatch):
    monkeypatch.setattr('mmstremn.datasets.io.frame_sources.LONGEST_WINDOW', 4)
    asked = []
    video = SquaresVideo(11)
    monkeypatch.setattr(video, 'frame', lambda index: asked.append(index) or SquaresVideo.frame(video, index))
    frames = list(iterate_run(video, range(9, 0, -1)))
    assert all(
        np.array_equal(a, SquaresVideo.frame(video, t)) for a, t in zip(frames, range(9, 0, -1), strict=True)
    )
    assert asked == [6, 7, 8, 9, 2, 3, 4, 5, 1]


def test_masks_are_given_by_numbers_of_frames(inferencer, expected):
    assert same(inferencer(FRAMES, {np.int64(0): VIDEO.mask(0)}), expected)
    for key in ('0', 0.0, None):
        with pytest.raises(TypeError, match='by the numbers of their frames, got the key'):
            inferencer(FRAMES, {key: VIDEO.mask(0), 1: VIDEO.mask(1)})


def test_live_frames_are_checked():
    with pytest.raises(
        ValueError, match=r'live: frame 0: expected \(H, W, 3\) uint8 RGB, got \(3, 3\) float64'
    ):
        list(LiveVideo([np.zeros((3, 3))]))


def test_models_by_name_have_files():
    names = named_models()
    assert {'stremn_r18', 'stremn_r18_presence'} <= set(names)
    assert names['stremn_r18'].config == 'configs/vos/stremn_r18.py'


def test_a_model_without_weights_is_refused():
    with pytest.raises(FileNotFoundError, match=r'model stremn_r99: expected the name .*stremn_r18'):
        VOSInferencer('stremn_r99')
    with pytest.raises(ValueError, match='no weights are known for it'):
        VOSInferencer('configs/stm_davis.py')


def test_the_terms_of_shipped_weights_are_given_once(monkeypatch, tmp_path):
    monkeypatch.setattr('mmstremn.apis.model_names._said', set())
    config, weights = resolve_model('configs/vos/stremn_r18.py')
    assert config.endswith('configs/vos/stremn_r18.py') and weights.endswith('stremn_r18.safetensors')
    assert 'stremn_r18.safetensors: research use only' in terms_of(weights)
    assert terms_of(weights) is None
    (tmp_path / 'own.safetensors').write_bytes(b'')
    assert terms_of(str(tmp_path / 'own.safetensors')) is None


def test_the_model_is_computed_at_the_size_that_is_asked_for(inferencer):
    inferencer = VOSInferencer(tiny_model(), short_side=32)
    assert inferencer.model.short_side == 32
    with pytest.raises(ValueError, match='short_side: expected at least 1, got 0'):
        VOSInferencer(tiny_model(), short_side=0)


def test_precision_is_that_of_the_model_and_checked():
    assert VOSInferencer(tiny_model(), precision='bfloat16').model.precision == 'bfloat16'
    assert VOSInferencer(tiny_model(precision='bfloat16')).model.precision == 'bfloat16'
    with pytest.raises(ValueError, match="precision: expected one of auto, float32, bfloat16, got 'half'"):
        VOSInferencer(tiny_model(), precision='half')


@pytest.mark.parametrize(('units', 'expected'), [(True, 'bfloat16'), (False, 'float32')])
def test_models_that_are_loaded_use_the_bfloat16_units_of_a_cpu(units, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: dict(amx_bf16=units), raising=False)
    inferencer = VOSInferencer('stremn_r18', device='cpu')
    assert inferencer.model.precision == expected
    assert VOSInferencer(inferencer.model, precision='float32').model.precision == 'float32'
    assert (
        VOSInferencer(tiny_model()).model.precision == 'float32'
    )  # of a model that is there nothing changes


@pytest.mark.parametrize('stated', ['float32', 'bfloat16'])
def test_the_precision_of_a_config_is_kept(stated, monkeypatch):
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: dict(amx_bf16=True), raising=False)
    cfg = Config.fromfile(ROOT / 'configs/vos/shipped_stremn.py')
    cfg.model.precision = stated
    weights = str(ROOT / 'weights/stremn_r18.safetensors')
    assert VOSInferencer(cfg, weights, 'cpu').model.precision == stated
    other = 'bfloat16' if stated == 'float32' else 'float32'
    assert VOSInferencer(cfg, weights, 'cpu', precision=other).model.precision == other


def test_batch_norms_of_shipped_weights_are_folded_and_masks_stay():
    fused, plain = (
        VOSInferencer('stremn_r18', device='cpu', precision='float32').model,
        init_segmentor(*resolve_model('stremn_r18')),
    )
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fused.modules())
    first, second = fused.new_stream(), plain.new_stream()
    for t, frame in enumerate(FRAMES[:3]):
        given = VIDEO.mask(0) if t == 0 else None
        found, expected = first.probabilities(frame, given), second.probabilities(frame, given)
        assert (found - expected).abs().max() < 1e-5


def test_points_need_a_model_that_takes_them(inferencer):
    with pytest.raises(ValueError, match=r'points and boxes of frame 1 .*VOSegmentor cannot use them'):
        inferencer(VIDEO, {0: VIDEO.mask(0), 1: dict(points={3: [(5, 5)]})})
    with pytest.raises(ValueError, match='VOSegmentor cannot use points'):
        list(inferencer(iter(FRAMES), dict(boxes={1: (2, 2, 9, 9)})))


def test_several_videos_at_once_are_equal_to_one_after_the_other(inferencer, monkeypatch):
    found, threads = {}, {}
    probabilities = VOSStream.probabilities

    def watched(stream, frame, *args, **kwargs):
        result = probabilities(stream, frame, *args, **kwargs)
        found.setdefault((batch_size, np.asarray(frame).tobytes()), []).append(result)
        threads.setdefault(batch_size, set()).add((threading.get_ident(), torch.get_num_threads()))
        return result

    videos = [SquaresVideo(T, seed=1), SquaresVideo(T - 2, seed=2), SquaresVideo(T, (32, 48), seed=3)]
    masks = [{3: videos[0].mask(3)}, videos[1].mask(0), videos[2].mask(0)]
    monkeypatch.setattr(VOSStream, 'probabilities', watched)
    monkeypatch.setattr(torch, 'get_num_threads', lambda real=torch.get_num_threads: max(2, real()))
    results = {}
    for batch_size in (1, 2, 3):
        given = list(inferencer(videos, masks, batch_size=batch_size))
        results[batch_size] = {(result.video, result.index): result.ids for result in given}
        for video in videos:
            assert [r.index for r in given if r.video == video.name] == list(range(video.num_frames))
    assert len(threads[1]) == 1 and len(threads[2]) == 2
    for several in (2, 3):
        assert results[several].keys() == results[1].keys()
        for (batch_size, frame), alone in found.items():
            if batch_size == 1:
                for one, other in zip(alone, found[several, frame], strict=True):
                    assert (one - other).abs().max() < 1e-4
    with pytest.raises(ValueError, match='batch_size: expected at least 1, got 0'):
        inferencer(videos, masks, batch_size=0)
