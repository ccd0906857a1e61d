"""The studies of the library: their memory files, plots, what slots keep, and galleries of failures."""

import json
import math
import runpy

import numpy as np
import pytest
import torch
from helpers.runs import DATA, ROOT
from helpers.vos_cases import SquaresVideo, tiny_config
from matplotlib.image import imread
from mmengine.config import Config
from scipy.stats import spearmanr

from mmstremn.apis import init_segmentor
from mmstremn.comparison import plots
from mmstremn.comparison.memory_file import load_memories
from mmstremn.comparison.plan import set_memory
from mmstremn.evaluation import evaluate_video
from mmstremn.registry import MODELS, build
from mmstremn.utils.palette import encode_palette_png
from studies.failures.gallery import Stretch, worst_stretch
from studies.shared import frame_scores, model_with_memory
from studies.what_is_kept.retention import (
    Kept,
    kept_frames,
    observed,
    offered_frames,
    rank_correlation,
    trait_values,
)

STUDIES = ROOT / 'studies'
SMALL = DATA / 'small_vos.py'
SLOTS = str(STUDIES / 'slots/memories.py')
plot_study, what_is_kept, failure_gallery = (
    runpy.run_path(str(ROOT / f'{path}.py'))['main']
    for path in ('tools/analysis_tools/plot_study', 'studies/what_is_kept/run', 'studies/failures/run')
)


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    """A tiny model on two short videos of the long benchmark."""
    cfg = Config.fromfile(SMALL)
    cfg.test_dataloader.dataset = dict(
        type='LongSyntheticVOSDataset', split='test', size=(48, 48), lengths=(40, 24)
    )
    path = tmp_path_factory.mktemp('config') / 'long.py'
    cfg.dump(str(path))
    return str(path)


@pytest.fixture(scope='module')
def checkpoint(config, tmp_path_factory):
    """Of the model with a learned selector."""
    path = tmp_path_factory.mktemp('checkpoint') / 'start.pth'
    torch.manual_seed(7)
    torch.save(init_segmentor(config, device='cpu').state_dict(), path)
    return str(path)


@pytest.mark.parametrize('path', sorted(STUDIES.glob('*/memories.py')), ids=lambda path: path.parent.name)
def test_every_memory_of_a_study_builds(path):
    widths = dict(key_channels=64, value_channels=256, decoder_channels=256)
    for name, entry in load_memories(str(path)).items():
        config = entry if 'type' in entry else entry['memory']
        memory = build(config, **widths)
        assert type(memory).__name__ == config['type']
        if config['type'] == 'SlotMemory':
            gates = [type(gate).__name__ for gate in memory.gates]
            assert gates[0] == 'EmptyFirst', name
            keeps = (
                memory.num_slots > 1 and path.parent.name != 'prediction'
            )  # a first frame is the user's masks
            assert ('KeepFirst' in gates) == keeps, name
            assert ('EveryN' in gates) == ('every' in name), name


def test_numbers_in_the_names_are_those_of_the_memories():
    for name, entry in load_memories(SLOTS).items():
        assert plots.split_name(name)[1] == entry['num_slots']
    for name, entry in load_memories(str(STUDIES / 'cadence/memories.py')).items():
        assert plots.split_name(name)[1] == entry['gates'][2]['n']
        assert 'every' not in plots.split_name(name)[0]
    with pytest.raises(ValueError, match="'fifo': expected a name that ends in a number"):
        plots.split_name('fifo')


def test_width_changes_the_model():
    for name, entry in load_memories(str(STUDIES / 'width/memories.py')).items():
        cfg = Config(dict(model=tiny_config()))
        set_memory(cfg, entry)
        model = MODELS.build(cfg.model)
        assert model.value_encoder.out.conv2.out_channels == plots.split_name(name)[1]


def made_up(folder, names, config=str(SMALL)):
    """A leaderboard as compare_memories.py writes it."""
    table = [
        {
            'memory': name,
            'J&F': 0.5 + 0.02 * place,
            'spread': 0.01 * place or None,
            'state_bytes': 1000 * 4**place,
        }
        | {'ms_per_frame': 3.0 + place}
        for place, name in enumerate(names)
    ]
    rows = [
        dict(
            memory=name,
            seed=seed,
            videos=dict(test_00000=0.5, test_00001=0.6),
            setup=dict(config=config, cfg_options={}),
        )
        for name in names
        for seed in range(2)
    ]
    folder.mkdir(exist_ok=True)
    (folder / 'leaderboard.json').write_text(json.dumps(dict(table=table, rows=rows)))
    return str(folder)


@pytest.mark.parametrize(
    'kind, names',
    [
        ('bars', ('fifo', 'stm')),
        ('slots', ('fifo_2', 'fifo_4')),
        ('cadence', ('fifo_every_1', 'lru_every_5')),
    ],
)
def test_plots_of_two_folders(kind, names, tmp_path):
    folders = [made_up(tmp_path / name, names) for name in ('one', 'two')]
    out = tmp_path / 'plots' / f'{kind}.png'
    assert plot_study([*folders, '--kind', kind, '--out', str(out)]) == 0
    assert imread(out)[..., :3].std() > 0.02


def test_lines_of_the_slots_plot(tmp_path):
    folder = tmp_path / 'one'
    made_up(folder, ('fifo_4', 'fifo_2', 'lru_2'))
    figure = plots.draw_slots(plots.read_boards([folder]))
    drawn = {container.get_label(): container[0].get_xydata() for container in figure.axes[0].containers}
    np.testing.assert_allclose(drawn['fifo'], [[2, 52], [4, 50]])
    np.testing.assert_allclose(drawn['lru'], [[2, 54]])
    assert [axes.get_ylabel() for axes in figure.axes] == ['J&F in percent', 'state in MB', 'ms a frame']


def test_length_plot_takes_lengths_from_the_config(config, tmp_path):
    folder = tmp_path / 'one'
    made_up(folder, ('fifo', 'lru'), config)
    board = json.loads((folder / 'leaderboard.json').read_text())
    for row in board['rows']:
        row['videos'] = {'long_test_000_return': 0.4 + 0.2 * row['seed'], 'long_test_001_look_alikes': 0.7}
    (folder / 'leaderboard.json').write_text(json.dumps(board))
    figure = plots.draw_length(plots.read_boards([folder], ['fifo']))
    (line,) = figure.axes[0].lines
    np.testing.assert_allclose(line.get_xydata(), [[24, 70], [40, 50]])
    made_up(folder, ('fifo',), config)
    assert plot_study([str(folder), '--kind', 'length', '--out', str(tmp_path / 'x.png')]) == 1


@pytest.mark.parametrize(
    'names, argv, message',
    [
        (('fifo',), ['--kind', 'slots'], 'expected a name that ends in a number'),
        (('fifo',), ['--memories', 'stm'], 'none of the memories stm'),
    ],
)
def test_what_plots_refuse(names, argv, message, tmp_path, capsys):
    folder = made_up(tmp_path / 'one', names)
    assert plot_study([folder, *argv, '--out', str(tmp_path / 'x.png')]) == 1
    assert message in capsys.readouterr().err
    assert plot_study([str(tmp_path), '--out', str(tmp_path / 'x.png')]) == 1


# Frame 0 stays; frames 2, 4, 6 and 8 are offered: 2 is held for four frames, 4 is not stored, 6 for four, 8
# to the end.
TIMELINE = np.array([[0, -1], [0, -1], [0, 2], [0, 2], [0, 2], [0, 2], [0, 6], [0, 6], [8, 6], [8, 6]])
OFFERS = np.array([2, 4, 6, 8])


def test_frames_kept():
    assert offered_frames(10, 2).tolist() == OFFERS.tolist()
    assert offered_frames(10, 3, first=1).tolist() == [4, 7]
    kept = kept_frames(TIMELINE, OFFERS)
    assert kept.frames.tolist() == [4, 0, 4, 2]
    assert kept.censored.tolist() == [False, False, True, True]


def test_late_offers_do_not_count():
    counted, kept = observed(Kept(np.array([9, 0, 2]), None), np.array([1, 5, 6]), 10)
    assert counted.tolist() == [True, True, False]
    assert kept.tolist() == [5, 0, 2]


def truth(**changes):
    return dict(visible=0.1, appearance=np.array([1.0, 0, 0]), scale=1.0, angle=0.0, blur=0.0) | changes


def test_traits_of_offered_frames():
    new, away = np.array([0.25, 0.75, 0]), truth(visible=0.0, appearance=np.array([0, 0, 1.0]))
    truths = {
        0: {1: truth(), 2: truth()},
        2: {1: truth(appearance=new, angle=2 * math.pi - 0.5, blur=2.0), 2: truth(angle=0.1)},
        4: {1: truth(appearance=new, scale=math.e), 2: away},
        6: {1: away, 2: away},
        8: {1: truth(angle=0.2), 2: truth(visible=0.3)},
    }
    values = trait_values(truths, TIMELINE, OFFERS)
    np.testing.assert_allclose(values['novelty'], [0.75 / 2, 0, np.nan, 0])
    np.testing.assert_allclose(values['turn'], [0.3, 0, np.nan, 0.1], atol=1e-9)
    np.testing.assert_allclose(values['scale'], [0, 1, np.nan, 0], atol=1e-9)
    np.testing.assert_allclose(values['blur'], [1, 0, np.nan, 0])
    np.testing.assert_allclose(values['visible'], [0.2, 0.1, 0, 0.4])


def test_looks_of_objects_that_no_held_frame_shows_are_new():
    away = truth(visible=0.0)
    values = trait_values({0: {1: away}, 1: {1: truth()}}, np.array([[0], [0]]), np.array([1]))
    assert values['novelty'].tolist() == [1]
    assert np.isnan(values['turn']).all()


def test_rank_correlation():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 6, 40).astype(float)
    second = first + 2 * rng.normal(size=40)
    plain, number = rank_correlation([(np.append(first, np.nan), np.append(second, 1))])
    assert number == 40
    np.testing.assert_allclose(plain, spearmanr(first, second).statistic, atol=1e-12)
    opposed = [(np.arange(5.0), np.arange(5.0)[::-1]), (100 + np.arange(5.0), 100 + np.arange(5.0)[::-1])]
    np.testing.assert_allclose(rank_correlation(opposed)[0], -1)  # though both are larger in the second group
    assert rank_correlation([(first, np.ones(40))]) == (None, 40)
    assert rank_correlation([]) == (None, 0)


def test_checkpoint_of_another_memory_is_loaded_as_far_as_it_fits(config, checkpoint, tmp_path):
    cfg, entry = (
        Config.fromfile(config),
        dict(type='SlotMemory', num_slots=2, selector=dict(type='FIFOSelector')),
    )
    model, missing = model_with_memory(cfg, entry, checkpoint)
    assert missing == [] and cfg.model.memory.num_slots == 3
    saved = torch.load(checkpoint)
    assert all(torch.equal(value.cpu(), saved[key]) for key, value in model.state_dict().items())
    entry['align'] = dict(type='DeformableAlign')
    with pytest.raises(RuntimeError, match=r'memory\.align'):
        model_with_memory(cfg, entry, checkpoint)
    _, missing = model_with_memory(cfg, entry, checkpoint, allow_missing=True)
    assert missing and all(key.startswith('memory.align') for key in missing)


def test_what_is_kept_from_config_to_pictures(config, checkpoint, tmp_path, capsys):
    memories = ['fifo_2', 'learned_4']
    argv = [config, checkpoint, '--memories', *memories, '--memory-file', SLOTS, '--out', str(tmp_path)]
    assert what_is_kept(argv) == 0, capsys.readouterr().err
    results = json.loads((tmp_path / 'result.json').read_text())['memories']
    assert list(results) == memories
    assert all(result['offers'] == 20 + 12 for result in results.values())  # every frame of the first halves
    assert results['fifo_2']['stored'] == 32 and results['fifo_2']['kept'] == 1
    assert all(values['spearman'] is None for values in results['fifo_2']['traits'].values())
    assert results['learned_4']['traits']['visible']['offers'] == 32
    assert 'fifo_2' in capsys.readouterr().out
    for name in ('figure', *(f'slots_{memory}' for memory in memories)):
        assert imread(tmp_path / f'{name}.png').std() > 0.02


def test_what_cannot_be_measured(config, checkpoint, tmp_path, capsys):
    for options, message in (
        (['--memories', 'stcn'], "'stcn': expected a memory of slots"),
        (
            ['--memories', 'fifo', '--video', 'none'],
            "--video: 'none' is unknown; there are: long_dev_000_return",
        ),
    ):
        assert what_is_kept([config, checkpoint, *options, '--out', str(tmp_path)]) == 1
        assert message in capsys.readouterr().err
    assert what_is_kept([str(SMALL), checkpoint, '--memories', 'fifo', '--out', str(tmp_path)]) == 1
    assert 'expected LongSyntheticVOSDataset' in capsys.readouterr().err


def test_scores_of_frames_are_those_of_the_metric():
    video = SquaresVideo(num_frames=8, appear=(0, 3), void=True)
    masks = [np.roll(video.mask(index), index, 1) for index in range(8)]
    scores = frame_scores(video, masks)
    assert np.isnan(scores[[0, 7]]).all() and not np.isnan(scores[1:7]).any()
    objects = evaluate_video(video, [encode_palette_png(mask) for mask in masks])['objects']
    late = frame_scores(SquaresVideo(num_frames=8, void=True), masks)
    np.testing.assert_allclose(late[1:4], scores[1:4])  # before the second object is scored
    np.testing.assert_allclose(np.nanmean(late, 0), [objects[3]['J-Mean'], objects[3]['F-Mean']])


def test_worst_stretch():
    values = np.ones(40)
    values[[0, 39]] = np.nan
    values[20:29] = 0.2
    assert worst_stretch(values, number=3, step=4).tolist() == [20, 24, 28]
    assert worst_stretch(values[:5], number=6, step=4).tolist() == [0, 1, 2, 3, 4]
    assert worst_stretch(values[:9], number=4, step=4).tolist() == [0, 2, 4, 6]


def test_stretch_shows_the_outline_of_the_truth():
    video = SquaresVideo()
    stretch = Stretch(video, np.array([3, 5]))
    changed = (stretch.frame(1) != video.frame(5)).any(-1)
    inside = video.mask(5) > 0
    assert changed.any() and not changed[6:14, 15:25].any()
    assert inside[6:14, 15:25].all()


def test_gallery_from_config_to_picture(config, checkpoint, tmp_path, capsys):
    out = tmp_path / 'gallery' / 'worst.png'
    argv = [
        config,
        checkpoint,
        '--memories',
        'fifo',
        'gumbel',
        '--videos',
        '1',
        '--step',
        '2',
        '--out',
        str(out),
    ]
    assert failure_gallery(argv) == 0, capsys.readouterr().err
    picture = imread(out)
    assert picture.shape[1] == 900 and picture.shape[0] > 500  # two strips
    assert failure_gallery([config, 'none.pth', '--out', str(out)]) == 1
    assert 'checkpoint none.pth: no such file' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        failure_gallery(['--help'])
    assert 'must never be' in ' '.join(capsys.readouterr().out.split())
