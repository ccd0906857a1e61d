"""The command ``mmstremn``: as a person runs it, on the smallest model."""

import csv
import os
import shutil
import signal
import subprocess
import sys

import av
import click
import numpy as np
import pytest
from helpers.davis_tree import add_sequence, draw_ids
from helpers.predictor_cases import tiny_digits
from helpers.runs import ROOT, SMALL_VOS
from helpers.vos_cases import SquaresVideo
from PIL import Image
from rich.console import Console

from mmstremn.__main__ import parts_table
from mmstremn.apis import init_predictor, init_segmentor
from mmstremn.checkpoints.weight_files import write_weights
from mmstremn.cli import COMMANDS, main
from mmstremn.cli.predict import Comparison
from mmstremn.datasets.io.masks import read_mask
from mmstremn.mm_packages import INSTALL
from mmstremn.utils.lock import NAME as LOCK
from mmstremn.utils.palette import encode_palette_png
from mmstremn.visualization import write_video

T = 8
VIDEO = SquaresVideo(T, size=(41, 57), appear=(0, 0))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('cli')
    write_weights(folder / 'weights.safetensors', init_segmentor(SMALL_VOS, device='cpu').state_dict(), {})
    (folder / 'shots').mkdir()
    for t in range(T):
        Image.fromarray(VIDEO.frame(t)).save(folder / f'shots/p{t}.png')
        (folder / f'mask{t}.png').write_bytes(encode_palette_png(VIDEO.mask(t)))
    for name in ('a.mp4', 'a.avi'):
        write_video(folder / name, [np.pad(VIDEO.frame(t), ((0, 1), (0, 1), (0, 0))) for t in range(T)], 25)
    (folder / 'even.png').write_bytes(encode_palette_png(np.pad(VIDEO.mask(0), ((0, 1), (0, 1)))))
    return folder


@pytest.fixture
def segment(folder, tmp_path, monkeypatch):
    """A function that runs ``mmstremn segment`` in an empty folder; returns the exit code."""
    monkeypatch.chdir(tmp_path)
    model = ['--config', SMALL_VOS, '--checkpoint', folder / 'weights.safetensors', '--device', 'cpu']
    return lambda *argv: main(['segment', *map(str, (*argv, *model))])


def visible(folder):
    return {path.name for path in folder.iterdir() if path.name != LOCK}


def ids_of(folder):
    return [read_mask(path) for path in sorted((folder / 'masks').iterdir())]


def test_segment_writes_what_is_asked_for(segment, folder, tmp_path, capsys):
    outputs = [part for name in ('masks', 'coco', 'labelme', 'csv') for part in ('--output', name)]
    code = segment(
        folder / 'shots',
        '--mask-at',
        f'4:{folder / "mask4.png"}',
        '--label',
        '3=dog',
        *outputs,
        '--precision',
        'bfloat16',
    )
    out = tmp_path / 'work_dirs/segment/shots'
    assert code == 0, capsys.readouterr().err
    assert visible(out) == {'masks', 'coco.json', 'labelme', 'objects.csv'}
    assert np.array_equal(read_mask(out / 'masks/p4.png'), VIDEO.mask(4))
    assert any((ids > 0).any() for ids in ids_of(out)[:4])
    rows = list(csv.DictReader((out / 'objects.csv').open()))
    assert len(rows) == 2 * T and {row['label'] for row in rows} == {'dog', ''}
    assert 'frames, ' in capsys.readouterr().out


def test_an_object_is_removed_at_a_frame(segment, folder, tmp_path):
    argv = [folder / 'shots', '--mask', folder / 'mask0.png', '--output', 'masks', '--out', tmp_path / 'out']
    assert segment(*argv, '--remove', '3:3', '--remove', '5:6') == 0
    shown = [set(np.unique(ids).tolist()) for ids in ids_of(tmp_path / 'out')]
    assert shown[0] == {0, 3, 6} and all(3 not in ids for ids in shown[3:])
    assert shown[5:] == [{0}] * (T - 5)


def test_files_of_one_name_get_folders_of_their_own(segment, folder, tmp_path):
    for name in ('a.mp4', 'a.avi'):
        assert segment(folder / name, '--mask', folder / 'even.png') == 0
    assert {path.name for path in (tmp_path / 'work_dirs/segment').iterdir()} == {'a.mp4', 'a.avi'}
    with av.open(str(tmp_path / 'work_dirs/segment/a.mp4/overlay.mp4')) as container:
        assert container.streams.video[0].average_rate == 25


def test_the_folder_above_has_a_name(segment, folder, tmp_path, monkeypatch):
    (tmp_path / 'shots').symlink_to(folder / 'shots')
    (tmp_path / 'take').mkdir()
    for t in range(2):
        Image.fromarray(VIDEO.frame(t)).save(tmp_path / f'take/{t}.png')
    (tmp_path / 'take/below').mkdir()
    monkeypatch.chdir(tmp_path / 'take/below')
    assert segment('..', '--mask', folder / 'mask0.png', '--output', 'masks') == 0
    assert (tmp_path / 'take/below/work_dirs/segment/take/masks/1.png').exists()
    monkeypatch.chdir(tmp_path)
    assert segment('shots', '--mask', folder / 'mask0.png', '--output', 'masks') == 0
    assert (tmp_path / 'work_dirs/segment/shots/masks').exists()


def test_a_killed_run_leaves_nothing_that_looks_whole_and_goes_on(segment, folder, tmp_path, capsys):
    mask = ['--mask-at', f'5:{folder / "mask5.png"}']
    assert segment(folder / 'shots', *mask, '--out', tmp_path / 'whole') == 0
    program = (
        'import os, signal, sys; from mmstremn.apis.result_store import ResultStore as S; put = S.put\n'
        'def killed(self, frame, *args):\n'
        '    put(self, frame, *args)\n'
        '    if frame == 3: os.kill(os.getpid(), signal.SIGKILL)\n'
        'S.put = killed\n'
        'from mmstremn.cli import main; main(sys.argv[1:])'
    )
    shots = shutil.copytree(folder / 'shots', tmp_path / 'shots')
    argv = ['segment', shots, *mask, '--out', tmp_path / 'out', '--device', 'cpu']
    argv += ['--config', SMALL_VOS, '--checkpoint', folder / 'weights.safetensors']
    environment = os.environ | dict(PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / 'tests/data')]))
    done = subprocess.run([sys.executable, '-c', program, *map(str, argv)], env=environment, cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL
    left = visible(tmp_path / 'out')
    assert '.session' in left and all('.partial' in name or name == '.session' for name in left)
    capsys.readouterr()
    os.utime(shots / 'p3.png', ns=(0, 0))
    assert segment(shots, *mask, '--out', tmp_path / 'out', '--resume') == 1
    assert 'holds results of another run (video_fingerprint' in capsys.readouterr().err
    shutil.copystat(folder / 'shots/p3.png', shots / 'p3.png')
    assert segment(shots, *mask, '--out', tmp_path / 'out', '--resume') == 0
    said = capsys.readouterr()
    assert f'{T - 3} of {T} frames need no computing' in said.out and 'begins anew' not in said.err
    first, second = ids_of(tmp_path / 'out'), ids_of(tmp_path / 'whole')
    assert len(first) == T and all(map(np.array_equal, first, second))
    assert visible(tmp_path / 'out') == visible(tmp_path / 'whole')
    assert segment(shots, *mask, '--out', tmp_path / 'out', '--resume') == 0
    assert '/out that was stopped; it begins anew' in capsys.readouterr().err


@pytest.mark.parametrize('record', ['{', '[1]', '3'])
def test_a_damaged_record_of_a_run_is_named(segment, folder, tmp_path, capsys, record):
    (tmp_path / 'out/.session').mkdir(parents=True)
    (tmp_path / 'out/.session/about.json').write_text(record)
    mask = folder / 'mask0.png'
    assert segment(folder / 'shots', '--mask', mask, '--out', tmp_path / 'out', '--resume') == 1
    assert 'about.json: expected the record of a run, it is damaged' in capsys.readouterr().err
    (tmp_path / 'out/.session/about.json').unlink()
    (tmp_path / 'out/.session/frames.jsonl').write_text(
        'null\n[0]\n[0, "r", [], null]\n[0, "r", {"x": 1}, null]\n'
    )
    assert segment(folder / 'shots', '--mask', mask, '--out', tmp_path / 'out', '--resume') == 0


def test_the_folder_of_the_frames_is_no_place_for_results(segment, folder, capsys):
    before = visible(folder / 'shots')
    with pytest.raises(SystemExit):
        segment(folder / 'shots', '--mask', folder / 'mask0.png', '--out', folder / 'shots')
    assert 'is the video itself: take another --out' in ' '.join(capsys.readouterr().err.split())
    assert visible(folder / 'shots') == before


def test_segment_to_a_file_is_refused_before_the_model_is_read(folder, tmp_path, capsys):
    (tmp_path / 'taken').write_text('a file')
    args = ['segment', str(folder / 'shots'), '--mask', str(folder / 'mask0.png'), '--model', 'nothing']
    for out in (tmp_path / 'taken', tmp_path / 'taken/below'):
        with pytest.raises(SystemExit):
            main([*args, '--out', str(out)])
        said = ' '.join(capsys.readouterr().err.split())
        assert f"'{tmp_path / 'taken'}' is no folder that can be written to: take another --out" in said


def test_doctor_takes_options_of_data_with_data_alone(capsys):
    with pytest.raises(SystemExit):
        main(['doctor', '--split', 'val'])
    assert 'give --data KIND ROOT' in capsys.readouterr().err


def test_a_label_of_no_object_is_refused(segment, folder, tmp_path, capsys):
    assert segment(folder / 'shots', '--mask', folder / 'mask0.png', '--label', '99=dog') == 1
    assert '--label: no object 99, expected one of [' in capsys.readouterr().err
    assert not (tmp_path / 'work_dirs').exists()


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('model = dict(type=)', 'reading it fails (SyntaxError'),
        ('x = 1', 'expected model = dict(type=...), found None'),
        ('model = 3', 'expected model = dict(type=...), found 3'),
        ("_base_ = './none.py'\n", 'none.py'),
        ('model = dict()', 'expected model = dict(type=...), found {}'),
        ("raise RuntimeError('why')", 'reading it fails (RuntimeError: why'),
    ],
)
def test_a_config_that_cannot_be_read_is_named(folder, tmp_path, capsys, text, message):
    (tmp_path / 'own.py').write_text(text)
    argv = ['segment', folder / 'shots', '--mask', folder / 'mask0.png', '--out', tmp_path / 'out']
    argv += ['--config', tmp_path / 'own.py', '--checkpoint', folder / 'weights.safetensors']
    assert main([*map(str, argv)]) == 1
    error = capsys.readouterr().err
    assert f'config {tmp_path}/own.py: ' in error and message in error, error
    assert not (tmp_path / 'out').exists()


def test_a_second_run_into_a_folder_is_refused(segment, folder, tmp_path, capsys):
    (tmp_path / 'out/.session').mkdir(parents=True)
    program = (
        'import sys, fcntl; file = open(sys.argv[1], "w"); fcntl.lockf(file, fcntl.LOCK_EX); '
        'print(1, flush=True); input()'
    )
    argv = [sys.executable, '-c', program, tmp_path / 'out' / LOCK]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        assert segment(folder / 'shots', '--mask', folder / 'mask0.png', '--out', tmp_path / 'out') == 1
        other.communicate(b'\n')
    assert 'writes to this folder: wait for it, or give this run another --out' in capsys.readouterr().err
    assert visible(tmp_path / 'out') == {'.session'}


@pytest.mark.parametrize(
    'argv, message',
    [
        (['none.mp4', '--mask', 'mask0.png'], 'none.mp4: no such file'),
        (['shots', '--mask', 'none.png'], 'mmstremn: none.png: no such file, expected a picture'),
        (['shots', '--mask-at', '9:mask0.png'], 'mask0.png: frame 9, expected one of 0..7'),
        (['shots', '--mask', 'mask0.png', '--mask-at', '0:mask1.png'], 'frame 0: expected one mask'),
        (['shots', '--point', '1=57,5'], 'object 1: [57.0, 5.0] (x, y) is outside the frame of 57 x 41'),
        (['shots', '--mask', 'mask0.png', '--remove', '4=9'], 'frame 4: no object 9 before it, expected'),
        (['shots', '--mask', 'mask0.png', '--remove', '8=3'], 'frame 8: expected a frame in 0..7'),
        (['shots', '--box', '9=1=5,6,7,8'], 'frame 9, expected one of 0..7'),
        (['shots', '--box', '1=5,6,7,8', '--box', '1=5,6,7,9'], 'object 1: expected one box, got 2'),
        (['shots', '--box', '0=5,6,7,8'], 'object ids must be in 1..254, got 0'),
        (['shots', '--mask', 'mask0.png', '--point', '4=2=5,5'], 'VOSegmentor cannot use them: give masks'),
        (
            ['shots', '--mask', 'mask0.png', '--cfg-options', 'model.foo=1'],
            'VOSegmentor.foo: there is no such argument',
        ),
        (['shots', '--mask', 'mask0.png', '--cfg-options', 'modle.foo=1'], "no 'modle'. Did you mean model?"),
        (['shots', '--mask', 'even.png'], 'size (42, 58) (H, W), expected (41, 57)'),
        (
            ['shots', '--mask', 'mask0.png', '--cfg-options', 'model.value_channels=8', 'randomness.seed=1'],
            'does not fit',
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(segment, folder, tmp_path, capsys, argv, message):
    argv = [folder / arg if (folder / arg).exists() else arg for arg in argv]
    argv = [arg.replace(':', f':{folder}/') if isinstance(arg, str) and ':' in arg else arg for arg in argv]
    argv = [arg.replace('=', ':') if isinstance(arg, str) and arg[0].isdigit() else arg for arg in argv]
    assert segment(*argv) == 1
    error = capsys.readouterr().err
    assert message in error and 'Traceback' not in error
    assert not (tmp_path / 'work_dirs').exists()


@pytest.mark.parametrize(
    'option, message',
    [
        (('--point', '2:5,5'), 'such as that of the config adapters/sam2/sam2.1_tiny.py'),
        (('--box', '1:2:5,6,7,8'), 'points and boxes of frame 1 of shots: VOSegmentor cannot use them'),
        (('--label', '7=dog'), '--label: no object 7, expected one of [3, 6]'),
    ],
)
def test_what_the_model_cannot_use_is_refused_before_it_is_loaded(
    segment, folder, monkeypatch, capsys, option, message
):
    monkeypatch.setattr('mmstremn.cli.segment.VOSInferencer', None)
    assert segment(folder / 'shots', '--mask', folder / 'mask0.png', *option) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    'argv, message',
    [
        (['shots'], 'no objects: expected --mask FIRST.png (ids, or white on black), --mask-at FRAME:FILE'),
        (['0', '--mask', 'm.png'], "'0': expected a video file or a folder of pictures; cameras and streams"),
        (['rtsp://127.0.0.1:1/x', '--mask', 'm.png'], 'are read by VOSInferencer and PredictionInferencer'),
        (['shots', '--mask', 'm.png', '--output', 'movie'], "'movie' is not one of 'masks'"),
        (['shots', '--mask', 'm.png', '--label', '300=dog'], 'expected ID=NAME'),
        (['shots', '--mask-at', 'm.png'], 'expected FRAME:FILE'),
        (['shots', '--mask', 'm.png', '--remove', '3'], "expected FRAME:ID such as 120:2, got '3'"),
        (['shots', '--point', '1:5'], 'expected [FRAME:]ID:X,Y[,LABEL] such as 1:120,80 or'),
        (['shots', '--point', '1:2:3:5,6'], "got '1:2:3:5,6'"),
        (['shots', '--point', '-1:2:5,6'], "got '-1:2:5,6'"),
        (['shots', '--box', '1:5,6,7'], 'expected [FRAME:]ID:X1,Y1,X2,Y2'),
    ],
)
def test_wrong_arguments_are_refused(segment, capsys, argv, message):
    with pytest.raises(SystemExit) as stopped:
        segment(*argv)
    assert stopped.value.code == 2 and message in ' '.join(capsys.readouterr().err.split())


def test_predict_writes_as_many_frames_as_asked(folder, tmp_path, capsys):
    config = tiny_digits(tmp_path)
    write_weights(tmp_path / 'p.safetensors', init_predictor(config, device='cpu').state_dict(), {})
    argv = ['predict', folder / 'a.mp4', '--config', config, '--checkpoint', tmp_path / 'p.safetensors']
    argv += ['--observe', 3, '--steps', 5, '--size', 32, 32, '--out', tmp_path / 'out', '--device', 'cpu']
    assert main([str(arg) for arg in argv]) == 0, capsys.readouterr().err
    with av.open(str(tmp_path / 'out/prediction.mp4')) as container:
        assert sum(1 for _ in container.decode(video=0)) == 3 + 5
    assert main([str(arg) for arg in [*argv, '--observe', 9]]) == 1
    assert '8 frames, expected at least the 9' in capsys.readouterr().err


def test_predict_refuses_the_config_of_a_segmentor_before_it_looks_for_weights(folder, capsys):
    argv = ['predict', str(folder / 'a.mp4'), '--config', 'configs/stremn_synthetic.py']
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    message = ' '.join(capsys.readouterr().err.split())
    assert stopped.value.code == 2 and 'is of a VOSegmentor: expected that of a video predictor' in message


def test_psnr_is_that_of_the_prediction_and_of_the_last_observed_frame(capsys):
    comparison = Comparison()
    black, grey = (np.full((1, 4, 4), level, np.uint8) for level in (0, 51))
    comparison.add(grey, grey, observed=True)
    comparison.add(black, grey, observed=False)
    comparison.add(black, None, observed=False)
    comparison.show()
    assert capsys.readouterr().out.splitlines() == [
        'PSNR of predicted frames over 1 frames: 13.98 dB',
        'PSNR of the last observed frame over 1 frames: 100.00 dB',
    ]


def test_mistakes_of_the_program_keep_their_traceback(capsys, monkeypatch):
    def told():
        raise TypeError('frames: expected a list, got 3')

    def wrapped():
        try:
            {}['a']
        except KeyError as error:
            raise KeyError('the config has no a') from error

    def command(work):
        monkeypatch.setattr('mmstremn.cli.weights.command', click.Command('weights', callback=work))

    for work, message in ((told, 'frames: expected a list, got 3'), (wrapped, 'the config has no a')):
        command(work)
        assert main(['weights']) == 1 and capsys.readouterr().err == f'mmstremn: {message}\n'
    for work, kind in ((lambda: 3 + 'a', TypeError), (lambda: {}['a'], KeyError), (lambda: len(), TypeError)):
        command(work)
        with pytest.raises(kind):
            main(['weights'])


def test_every_command_has_help_and_parts_name_their_extra(capsys, monkeypatch):
    for name in COMMANDS:
        assert main([name, '--help']) == 0
    assert 'FRAME:FILE' in capsys.readouterr().out
    for name in ('app', 'export'):
        monkeypatch.setitem(sys.modules, f'mmstremn.{name}', None)
    assert main(['app']) == 1 and main(['export', 'c', 'w', '--to', 'onnx']) == 1
    error = capsys.readouterr().err
    assert "pip install 'mmstremn[app]'" in error and "pip install 'mmstremn[export]'" in error


@pytest.mark.parametrize(
    'name, message',
    [('segmnt', "no command 'segmnt', expected segment"), ('xyz', ', '.join(COMMANDS))],
)
def test_an_unknown_command_is_refused_with_the_most_similar_one(capsys, name, message):
    with pytest.raises(SystemExit) as stopped:
        main([name])
    assert stopped.value.code == 2 and message in capsys.readouterr().err


def test_help_needs_no_torch():
    program = "import sys, mmstremn.cli; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, '-c', program], env=os.environ | dict(PYTHONPATH=str(ROOT)))
    assert done.returncode == 0


def test_weights_are_listed_with_hash_and_terms(capsys):
    assert main(['weights']) == 0
    text = capsys.readouterr().out
    assert 'stremn_r18_v2 (default)' in text and 'research use only' in text
    assert '74b76eff0c65fefa3d35706b71abdee21260fc2def44213beb03b790ae36c97a' in text


def test_doctor_prints_the_tables(capsys):
    assert main(['doctor']) == 0
    assert 'Components of scope mmstremn' in capsys.readouterr().out


def test_doctor_names_extras_whole(monkeypatch):
    monkeypatch.setattr('mmstremn.__main__.find_spec', lambda name: None)
    console = Console(width=300, record=True)
    console.print(parts_table())
    assert INSTALL['transformers'] in console.export_text() and '[' in INSTALL['transformers']


def test_doctor_checks_a_data_set(tmp_path, capsys):
    frames, _ = add_sequence(tmp_path, 'bear', [draw_ids(t) for t in range(3)])
    assert main(['doctor', '--data', 'DAVIS', str(tmp_path), '--split', 'val']) == 0
    out = capsys.readouterr().out
    assert '1 sequences, 3 frames, 3 masks' in out and 'All frames and masks can be read' in out
    damaged = sorted(frames.iterdir())[1]
    damaged.write_bytes(damaged.read_bytes()[:-40])
    assert main(['doctor', '--data', 'DAVIS', str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert 'DAVIS cannot be used as it is' in error and str(damaged) in error
    assert main(['doctor', '--data', 'YouTubeVOS', str(tmp_path)]) == 1
    assert str(tmp_path) in capsys.readouterr().err
