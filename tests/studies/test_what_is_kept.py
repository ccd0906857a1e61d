"""What slots keep: for how long frames are held, against what they show."""

import json
import math
import runpy

import numpy as np
from helpers.runs import DATA, ROOT
from matplotlib.image import imread
from scipy.stats import spearmanr

from studies.what_is_kept.retention import (
    Kept,
    kept_frames,
    observed,
    offered_frames,
    rank_correlation,
    trait_values,
)

SMALL = DATA / 'small_vos.py'
SLOTS = str(ROOT / 'studies/slots/memories.py')
what_is_kept = runpy.run_path(str(ROOT / 'studies/what_is_kept/run.py'))['main']

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
