"""The demos and the analysis tools, run as a person runs them but on the smallest model."""

import json
import runpy
import subprocess
import sys

import av
import numpy as np
import pytest
import torch
from helpers.runs import DATA, ROOT, run_tool
from PIL import Image

from mmstremn.apis import VOSSession, init_segmentor
from mmstremn.datasets import SyntheticVOSDataset
from mmstremn.datasets.io.masks import read_mask
from mmstremn.structures.video import Video
from mmstremn.utils.palette import encode_palette_png
from mmstremn.visualization import write_overlay_video

SMALL = DATA / 'small_vos.py'
RUN_DEMO = '../demo/run_demo'
FILES = ('stremn.pth', 'fifo.pth', 'metrics.json', 'overlay.mp4', 'slots.png', 'overview.png', 'log.txt')
FILES += ('shipped_overlay.mp4', 'shipped_overview.png', 'shipped_slots.png')


def load(path):
    """The names of a script."""
    return runpy.run_path(str(ROOT / path))


def run_demo(out, *argv, config=SMALL):
    """Exit code and output of the demo."""
    output = out.parent / f'{out.name}.txt'
    code = run_tool(
        RUN_DEMO,
        ['--out', out, '--config', config, '--short-clips', config, '--shipped-frames', '2', *argv],
        output=output,
    )
    return code, output.read_text()


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    """The demo's folder after three iterations, and what it printed."""
    out = tmp_path_factory.mktemp('demo') / 'out'
    code, output = run_demo(out, '--iters', '3')
    assert code == 0, output
    return out, output


def results(folder):
    """The measures in metrics.json without the speed."""
    figures = json.loads((folder / 'metrics.json').read_text())['results']
    return {name: {key: value for key, value in row.items() if key != 'fps'} for name, row in figures.items()}


def num_frames(path):
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_demo_leaves_everything_in_one_folder(demo):
    out, output = demo
    assert all((out / name).is_file() for name in FILES)
    assert num_frames(out / 'overlay.mp4') == 6
    assert np.array(Image.open(out / 'slots.png')).std() > 10
    metrics = json.loads((out / 'metrics.json').read_text())
    assert (metrics['seed'], metrics['iterations']) == (0, [3, 3])
    assert metrics['results'].keys() == {'stremn', 'fifo', 'copy_first_mask'}
    assert all(
        0 <= row[name] <= 1 for row in metrics['results'].values() for name in ('J-Mean', 'F-Mean', 'J&F')
    )
    assert all(f'{100 * row["J&F"]:.1f}' in output for row in metrics['results'].values())


def test_demo_trains_the_second_memory_with_fifo(demo):
    out, _ = demo
    keys = {
        name: torch.load(out / f'{name}.pth', weights_only=False)['state_dict'].keys()
        for name in ('stremn', 'fifo')
    }
    assert any('selector' in key for key in keys['stremn'])
    assert keys['fifo'] == {key for key in keys['stremn'] if 'selector' not in key}


def test_demo_keeps_the_log_out_of_the_terminal(demo):
    out, output = demo
    assert 'mmengine - INFO' in (out / 'log.txt').read_text()
    assert 'mmengine' not in output
    assert 'training FIFO' in output


def test_demo_again_replaces_its_own_files_and_gives_the_same(demo, tmp_path):
    again = tmp_path / 'out'
    (again / 'runs').mkdir(parents=True)
    for name in ('runs/old.txt', 'stremn.pth', 'mine.txt'):
        (again / name).write_text('old')
    code, output = run_demo(again, '--iters', '3')
    assert code == 0, output
    assert not (again / 'runs/old.txt').exists()
    assert (again / 'mine.txt').exists()
    assert results(again) == results(demo[0])


def test_demo_fails_clearly_when_the_loss_is_not_finite(tmp_path):
    config = tmp_path / 'broken.py'
    hooks = "custom_hooks = [dict(type='FiniteLossHook', interval=1)]"
    config.write_text(f"_base_ = ['{SMALL}']\noptim_wrapper = dict(optimizer=dict(lr=1e30))\n{hooks}\n")
    code, output = run_demo(tmp_path / 'out', config=config)
    assert code == 1
    assert 'The demo failed while training on short clips: FloatingPointError: iteration' in output
    assert 'log.txt' in output
    assert 'Traceback' in (tmp_path / 'out/log.txt').read_text()
    assert not (tmp_path / 'out/metrics.json').exists()


def test_demo_refuses_a_video_that_is_not_there(tmp_path):
    code, output = run_demo(tmp_path / 'out', '--video', '3')
    assert code == 1
    assert '--video 3: expected 0..2' in output


def test_demo_names_a_missing_package():
    program = (
        f"import sys, runpy; sys.modules['av'] = None; runpy.run_path({str(ROOT / 'demo/run_demo.py')!r})"
    )
    result = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 1
    assert 'The demo misses a package' in result.stderr
    assert 'Traceback' not in result.stderr


# demo/vos_demo.py


@pytest.fixture(scope='module')
def vos_demo():
    """A function that runs the demo for videos with the small model and returns its exit code."""
    return load('demo/vos_demo.py')


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    """A folder with a video of 10 frames as mp4 and as pictures, and masks."""
    folder = tmp_path_factory.mktemp('clip')
    dataset = SyntheticVOSDataset(split='dev', size=(48, 64), num_frames=10, num_videos=1, max_objects=2)
    video = dataset[0]['inputs']
    empty = np.zeros(video.size, np.uint8)
    write_overlay_video(folder / 'video.mp4', map(video.frame, range(10)), [empty] * 10)
    (folder / 'pictures').mkdir()
    for index in range(10):
        Image.fromarray(video.frame(index)).save(folder / f'pictures/p{index}.png')
    masks = {
        'first': video.mask(0),
        'empty': empty,
        'small': video.mask(0)[:20],
        'late': (video.mask(5) > 0) * np.uint8(7),
    }
    for name, ids in masks.items():
        (folder / f'{name}.png').write_bytes(encode_palette_png(ids))
    Image.fromarray((video.mask(0) > 0) * np.uint8(255)).save(folder / 'black_and_white.png')
    (folder / 'broken.mp4').write_bytes(b'no video' * 100)
    return folder


@pytest.fixture
def segment(vos_demo, demo, clip, tmp_path):
    """A function that segments a video of ``clip``; it returns the exit code and the folder of the
    results."""

    def run(video, mask, *argv, checkpoint=demo[0] / 'stremn.pth', config=SMALL):
        command = [clip / video, '--mask', clip / mask, '--config', config, '--checkpoint', checkpoint]
        return vos_demo['main'](
            [str(part) for part in (*command, '--out', tmp_path, '--device', 'cpu', *argv)]
        ), tmp_path

    return run


def test_vos_demo_segments_a_video_and_takes_a_further_mask(segment, clip):
    code, out = segment('video.mp4', 'first.png', '--mask-at', f'5:{clip / "late.png"}')
    assert code == 0
    assert num_frames(out / 'overlay.mp4') == 10
    assert (out / 'slots.png').is_file()
    masks = [read_mask(path) for path in sorted((out / 'masks').glob('*.png'))]
    first, late = read_mask(clip / 'first.png'), read_mask(clip / 'late.png')
    assert len(masks) == 10
    assert np.array_equal(masks[0], first)
    assert not any((ids == 7).any() for ids in masks[:5])
    assert np.array_equal(masks[5] == 7, late == 7)
    assert set(np.unique(masks)) <= {0, 7, *np.unique(first)}


def test_vos_demo_segments_pictures_and_names_the_masks_after_them(segment):
    code, out = segment('pictures', 'black_and_white.png', '--short-side', '32')
    assert code == 0
    assert sorted(path.name for path in (out / 'masks').iterdir()) == [f'p{index}.png' for index in range(10)]
    assert set(np.unique(read_mask(out / 'masks/p0.png'))) == {0, 1}


def test_vos_demo_draws_no_slots_where_there_are_none(segment, tmp_path):
    config = tmp_path / 'growing.py'
    config.write_text(
        f"_base_ = ['{SMALL}']\nmodel = dict(memory=dict(_delete_=True, type='GrowingMemory'))\n"
    )
    torch.save(init_segmentor(config).state_dict(), tmp_path / 'growing.pth')
    code, out = segment('pictures', 'first.png', config=config, checkpoint=tmp_path / 'growing.pth')
    assert code == 0
    assert not (out / 'slots.png').exists()


@pytest.mark.parametrize(
    'video, mask, options, message',
    [
        ('video.mp4', 'small.png', [], r'small.png: size (20, 64) (H, W), expected (48, 64)'),
        ('video.mp4', 'empty.png', [], 'empty.png: the mask is empty, expected at least one object'),
        ('video.mp4', 'none.png', [], 'none.png'),
        ('broken.mp4', 'first.png', [], 'broken.mp4: expected a video file, cannot read it'),
        ('none.mp4', 'first.png', [], 'none.mp4: no such file, expected a video'),
        ('video.mp4', 'first.png', ['--mask-at', '10:late.png'], 'late.png: frame 10, expected one of 0..9'),
        ('video.mp4', 'first.png', ['--checkpoint', 'none.pth'], 'checkpoint none.pth: no such file'),
        ('video.mp4', 'first.png', ['--config', 'none.py'], 'config none.py: no such file'),
        (
            'video.mp4',
            'first.png',
            ['--cfg-options', 'model.value_channels=8'],
            'the checkpoint does not fit VOSegmentor',
        ),
    ],
)
def test_vos_demo_says_what_is_wrong(segment, capsys, video, mask, options, message):
    code, out = segment(video, mask, *options)
    assert code == 1
    assert message in capsys.readouterr().err
    assert not (out / 'overlay.mp4').exists()


def test_vos_demo_takes_the_weights_of_the_repository(vos_demo, clip, tmp_path, capsys):
    command = [clip / 'video.mp4', '--mask', clip / 'first.png', '--out', tmp_path, '--device', 'cpu']
    assert vos_demo['main']([str(part) for part in command]) == 0
    assert len(list((tmp_path / 'masks').glob('*.png'))) == 10
    for options in (['--config', str(SMALL)], ['--checkpoint', 'a.pth']):
        with pytest.raises(SystemExit):
            vos_demo['main']([str(part) for part in (*command, *options)])
        assert '--config and --checkpoint belong together' in capsys.readouterr().err


def test_vos_demo_takes_one_size_or_several(segment, capsys):
    several = ['--cfg-options', 'model.test_time.short_sides=[32,48]']
    assert segment('video.mp4', 'first.png', '--short-side', '32', *several)[0] == 1
    assert '--short-side' in capsys.readouterr().err
    assert segment('video.mp4', 'first.png', *several)[0] == 0


def test_sessions_hold_few_frames():
    class CountedVideo(Video):
        name, num_frames, size, decoded = 'counted', 100, (32, 32), 0

        def frame(self, index):
            self.decoded += 1
            return np.zeros((*self.size, 3), np.uint8)

        def mask(self, index):
            return None

    video, mask = CountedVideo(), np.eye(32, dtype=np.uint8)
    with VOSSession(init_segmentor(SMALL, device='cpu'), video, {0: mask}) as session:
        results = session.run_in_order()
        for _ in range(5):
            next(results)
        assert video.decoded <= 8
        results.close()


# tools/analysis_tools


def test_baseline_tool_gives_the_figures_of_the_demo(demo, tmp_path):
    metrics = load('tools/analysis_tools/copy_first_baseline.py')['main'](
        [str(SMALL), '--out', str(tmp_path / 'a/b.json')]
    )
    assert metrics == results(demo[0])['copy_first_mask']
    assert len(json.loads((tmp_path / 'a/b.json').read_text())['videos']) == 3


def test_vos_demo_does_not_replace_what_it_reads(segment, tmp_path, capsys):
    mask = tmp_path / 'masks/00000.png'
    mask.parent.mkdir()
    mask.write_bytes(encode_palette_png(np.eye(8, dtype=np.uint8)))
    with pytest.raises(SystemExit):
        segment('video.mp4', mask)
    assert 'masks, whose pictures are replaced: take another --out' in capsys.readouterr().err
    assert mask.is_file()
