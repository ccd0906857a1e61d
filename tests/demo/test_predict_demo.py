"""The demo of video prediction, and models of a config and a checkpoint."""

import runpy

import av
import numpy as np
import pytest
import torch
from helpers.prediction_files import write_pictures, write_video
from helpers.predictor_cases import LATER, OBSERVED, tiny_digits
from helpers.runs import DATA, ROOT
from PIL import Image

from mmstremn.apis import init_predictor, init_segmentor
from mmstremn.datasets import MovingDigitsDataset

SEGMENTOR = DATA / 'small_vos.py'
main = runpy.run_path(str(ROOT / 'demo/predict_demo.py'))['main']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A config, checkpoints of it and of a segmentor, and clips of 10 frames as a video and as pictures."""
    folder = tmp_path_factory.mktemp('predict')
    tiny_digits(folder)
    torch.manual_seed(0)
    torch.save(init_predictor(folder / 'tiny_digits.py', device='cpu').state_dict(), folder / 'model.pth')
    torch.save(init_segmentor(SEGMENTOR, device='cpu').state_dict(), folder / 'segmentor.pth')
    clip = MovingDigitsDataset('test', input_frames=5, output_frames=5, size=32)[0]['inputs'][:, 0].numpy()
    write_video(folder / 'clip.mkv', clip)
    write_video(folder / 'short.mkv', clip[: OBSERVED - 1])
    write_pictures(folder / 'pictures', dict(enumerate(clip)))
    write_pictures(folder / 'mixed', dict(enumerate([*clip[:5], clip[0, :20]])))
    (folder / 'broken.avi').write_bytes(b'no video' * 100)
    (folder / 'nothing').mkdir()
    return folder


@pytest.fixture
def run(folder, tmp_path):
    """A function that predicts with a clip of ``folder``; it returns the exit code and the folder of the
    results."""

    def run(clip, *argv, config=None, checkpoint='model.pth'):
        config = config or folder / 'tiny_digits.py'
        command = [
            folder / clip,
            '--config',
            config,
            '--checkpoint',
            folder / checkpoint,
            '--out',
            tmp_path / 'out',
        ]
        return main([str(part) for part in (*command, '--device', 'cpu', *argv)]), tmp_path / 'out'

    return run


def num_frames(path):
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.parametrize('clip', ['clip.mkv', 'pictures'])
def test_demo_predicts_as_many_steps_as_asked(run, capsys, clip):
    code, out = run(clip, '--steps', '12')
    assert code == 0
    assert num_frames(out / 'prediction.mp4') == OBSERVED + 12
    strip = np.asarray(Image.open(out / 'prediction.png'))
    assert (strip[10:90, -50:] == 255).all()  # the clip has ended
    assert not (strip[10:90, :96] == 255).all()
    assert 'PSNR of the last observed frame over 7 frames' in capsys.readouterr().out


def test_demo_takes_what_is_left_out_from_the_config(run, capsys):
    code, out = run('clip.mkv')
    assert code == 0
    assert num_frames(out / 'prediction.mp4') == OBSERVED + LATER
    code, out = run('clip.mkv', '--observe', '10', '--size', '16', '32', '--crop')
    assert code == 0 and num_frames(out / 'prediction.mp4') == 10 + LATER
    assert 'PSNR' not in capsys.readouterr().out.partition('Written')[2]  # no truth is left


def test_options_with_an_equals_sign_count(folder, tmp_path):
    given = dict(config=folder / 'tiny_digits.py', checkpoint=folder / 'model.pth', out=tmp_path / 'out')
    argv = [f'--{name}={value}' for name, value in given.items()]
    assert main([str(folder / 'clip.mkv'), *argv, '--device', 'cpu']) == 0
    assert num_frames(tmp_path / 'out/prediction.mp4') == OBSERVED + LATER


def test_demo_finds_what_training_left(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    argv = [
        str(folder / 'clip.mkv'),
        '--config',
        str(folder / 'tiny_digits.py'),
        '--device',
        'cpu',
        '--out',
        'out',
    ]
    assert main(argv) == 1
    assert 'train with `python tools/train.py' in capsys.readouterr().err
    work = tmp_path / 'work_dirs/tiny_digits'
    work.mkdir(parents=True)
    weights = torch.load(folder / 'model.pth')
    torch.save(weights, work / 'iter_2.pth')
    (work / 'last_checkpoint').write_text('/elsewhere/iter_2.pth')
    assert main(argv) == 0
    (work / 'best_prediction_PSNR_iter_1.pth').write_bytes(b'damaged')
    assert main(argv) == 1
    assert 'best_prediction_PSNR_iter_1.pth: expected a file written by torch.save' in capsys.readouterr().err


@pytest.mark.parametrize(
    'clip, options, changes, message',
    [
        ('none.mp4', [], {}, 'none.mp4: no such file, expected a video'),
        ('broken.avi', [], {}, 'broken.avi: expected a video file, cannot read it'),
        ('nothing', [], {}, 'nothing: no pictures'),
        ('mixed', [], {}, 'expected 32 x 32'),
        ('short.mkv', [], {}, 'short.mkv: 2 frames, expected at least the 3 that the model is to see'),
        ('clip.mkv', [], dict(checkpoint='none.pth'), 'none.pth: no such file'),
        ('clip.mkv', [], dict(config='none.py'), 'config none.py: no such file'),
        (
            'clip.mkv',
            [],
            dict(checkpoint='segmentor.pth'),
            'segmentor.pth: it is the checkpoint of a segmentor',
        ),
        (
            'clip.mkv',
            [],
            dict(config=SEGMENTOR, checkpoint='segmentor.pth'),
            'its model is a VOSegmentor, expected a VideoPredictor',
        ),
        (
            'clip.mkv',
            ['--cfg-options', 'model.value_channels=6'],
            {},
            'the checkpoint does not fit VideoPredictor',
        ),
    ],
)
def test_demo_says_what_is_wrong(run, capsys, clip, options, changes, message):
    code, out = run(clip, *options, **changes)
    assert code == 1
    assert message in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize('option', ['--steps', '--observe', '--fps'])
def test_demo_refuses_numbers_below_one(run, capsys, option):
    with pytest.raises(SystemExit):
        run('clip.mkv', option, '0')
    said = capsys.readouterr().err
    assert f"Invalid value for '{option}'" in said and '0' in said


def test_models_of_the_other_kind_are_refused(folder):
    with pytest.raises(
        ValueError, match=r'small_vos\.py: its model is a VOSegmentor, expected a VideoPredictor'
    ):
        init_predictor(SEGMENTOR)
    with pytest.raises(
        ValueError, match=r'tiny_digits\.py: its model is a VideoPredictor, expected a VOSegmentor'
    ):
        init_segmentor(folder / 'tiny_digits.py')


def test_predictor_of_the_api_predicts(folder):
    model = init_predictor(str(folder / 'tiny_digits.py'), folder / 'model.pth', 'cpu')
    stream = model.start(torch.zeros(1, 16, 16))
    assert not model.training
    assert stream.step().shape == (1, 16, 16)
