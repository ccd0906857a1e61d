"""What demo/vos_demo.py leaves: the speed of the overlay, results of several runs, names with dots and
colons."""

import runpy
from fractions import Fraction

import av
import numpy as np
import pytest
from helpers.runs import ROOT, SMALL_VOS
from mmengine.config import Config
from PIL import Image

from mmstremn.apis import init_segmentor
from mmstremn.checkpoints.weight_files import write_weights
from mmstremn.utils.palette import encode_palette_png
from mmstremn.visualization import write_video

H, W = 48, 64


def ids():
    mask = np.zeros((H, W), np.uint8)
    mask[10:30, 10:40] = 3
    return mask


def frames(number):
    return [np.random.default_rng(k).integers(0, 200, (H, W, 3), dtype=np.uint8) for k in range(number)]


@pytest.fixture(scope='module')
def main():
    return runpy.run_path(str(ROOT / 'demo/vos_demo.py'))['main']


@pytest.fixture
def demo(main, tmp_path, monkeypatch):
    """A function that runs the demo in an empty folder; returns the exit code."""
    monkeypatch.chdir(tmp_path)
    write_weights(tmp_path / 'weights.safetensors', init_segmentor(SMALL_VOS, device='cpu').state_dict(), {})
    (tmp_path / 'first.png').write_bytes(encode_palette_png(ids()))
    model = ['--config', str(SMALL_VOS), '--checkpoint', 'weights.safetensors', '--device', 'cpu']
    return lambda video, *argv: main([video, '--mask', 'first.png', *model, *argv])


def contents(folder):
    """All files but those that --resume goes on with."""
    files = [path for path in folder.rglob('*.*') if path.is_file() and '.session' not in path.parts]
    return {path: path.read_bytes() for path in files}


def rate_and_seconds(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.average_rate, round(float(stream.duration * stream.time_base), 3)


@pytest.mark.parametrize('rate', [Fraction(1, 2), 2, Fraction(5, 2), Fraction(30000, 1001), 60])
def test_the_overlay_runs_as_fast_as_the_video(rate, demo):
    write_video('clip.mp4', frames(4), rate)
    assert demo('clip.mp4', '--out', 'out') == 0
    assert rate_and_seconds('out/overlay.mp4') == (rate, round(4 / float(rate), 3))
    assert demo('clip.mp4', '--out', 'out', '--fps', '.25') == 0
    assert rate_and_seconds('out/overlay.mp4') == (Fraction(1, 4), 16)


@pytest.mark.parametrize('rate', ['-3', '0', 'fast', '1/0', 'nan', 'inf', '1e9'])
def test_a_speed_that_is_none_is_refused_before_anything_runs(rate, demo, capsys):
    with pytest.raises(SystemExit):
        demo('missing.mp4', f'--fps={rate}')
    assert 'expected frames a second above 0' in capsys.readouterr().err


def test_results_of_a_rerun_do_not_mix_with_older_ones(demo, tmp_path):
    for number in (5, 2):
        write_video('clip.mp4', frames(number))
        assert demo('clip.mp4', '--out', 'out') == 0
    assert {path.name for path in (tmp_path / 'out/masks').iterdir()} == {'00000.png', '00001.png'}
    assert (tmp_path / 'out/slots.png').exists()
    cfg = Config.fromfile(SMALL_VOS)
    cfg.model.memory = dict(type='GrowingMemory')
    write_weights(tmp_path / 'weights.safetensors', init_segmentor(cfg, device='cpu').state_dict(), {})
    memory = ['model.memory._delete_=True', 'model.memory.type=GrowingMemory']
    assert demo('clip.mp4', '--out', 'out', '--cfg-options', *memory) == 0
    assert {path.name for path in (tmp_path / 'out').glob('[!.]*')} == {'masks', 'overlay.mp4'}


def test_a_run_that_fails_in_the_middle_leaves_the_older_results(demo, tmp_path, capsys):
    (tmp_path / 'shots').mkdir()
    for k, frame in enumerate(frames(3)):
        Image.fromarray(frame).save(tmp_path / f'shots/{k}.png')
    assert demo('shots', '--out', 'out') == 0
    before = contents(tmp_path / 'out')
    whole = (tmp_path / 'shots/2.png').read_bytes()
    (tmp_path / 'shots/2.png').write_bytes(whole[: len(whole) // 2])
    assert demo('shots', '--out', 'out') == 1
    assert '2.png' in capsys.readouterr().err
    assert contents(tmp_path / 'out') == before


def test_folders_with_dots_get_folders_of_their_own_and_out_may_have_a_colon(demo, tmp_path):
    for take in ('take.1', 'take.2'):
        (tmp_path / take).mkdir()
        Image.fromarray(frames(1)[0]).save(tmp_path / take / '0.png')
        assert demo(take) == 0
    assert {path.name for path in (tmp_path / 'work_dirs/vos_demo').iterdir()} == {'take.1', 'take.2'}
    assert demo('take.1', '--out', 'take:1') == 0
    assert (tmp_path / 'take:1/overlay.mp4').is_file()
