"""Converters of public weights: every key once, clear errors, and predictions equal to those of the official
code.

The reference numbers come from the public code of each model, run in float32 on a CPU with
``random_weights(name)`` on ``make_video(length, SIZE)``: the mean probabilities of background and objects in
every frame but the first, and those at ``POINTS`` in the last.
"""

import collections
import functools
import json
import re
import subprocess
import sys

import pytest
import torch
from helpers.official_cases import POINTS, SMALL_MEMORY, blank_weights, make_video, random_weights, shapes
from helpers.runs import ROOT
from mmengine.config import Config
from safetensors import safe_open

from mmstremn.apis.inference import init_segmentor
from mmstremn.checkpoints.convert import build_model, convert, read_public_weights
from mmstremn.checkpoints.public_models import PUBLIC, run
from mmstremn.checkpoints.weight_files import write_weights
from mmstremn.memory import Entry, Query, TwoLevelMemory
from mmstremn.models import VOSDataPreprocessor, VOSStream
from mmstremn.models.segmentation.clip import stack_masks
from mmstremn.models.segmentation.decoders import Segmentation
from mmstremn.models.segmentation.given_masks import GivenMasks
from mmstremn.registry import MODELS
from mmstremn.structures import VOSDataSample
from mmstremn.utils import find_config

CUTIE = ['cutie_base', 'cutie_small']
NAMES = [*CUTIE, 'stcn', 'stm', 'xmem']
SIZE = (75, 101)  # neither is a multiple of 16, and both margins are odd
REFERENCE = dict(
    cutie_base=(
        [
            [0.0809, 0.29768, 0.1825, 0.43893],
            [0.06345, 0.28377, 0.15485, 0.49793],
            [0.06528, 0.29544, 0.25778, 0.3815],
        ],
        [
            [0.0141, 0.3167, 0.33079, 0.33841],
            [0.00782, 0.30021, 0.25936, 0.43261],
            [0.02823, 0.28155, 0.28532, 0.4049],
            [0.00119, 0.33231, 0.28612, 0.38038],
            [0.79229, 0.07313, 0.05623, 0.07834],
        ],
    ),
    cutie_small=(
        [
            [0.01147, 0.34756, 0.26315, 0.37782],
            [0.01063, 0.33755, 0.25685, 0.39496],
            [0.0113, 0.30472, 0.31494, 0.36905],
            [0.00865, 0.31159, 0.31803, 0.36173],
            [0.01184, 0.31122, 0.33087, 0.34607],
            [0.01205, 0.32071, 0.32379, 0.34345],
            [0.01115, 0.31604, 0.32494, 0.34787],
            [0.00986, 0.31304, 0.32643, 0.35067],
            [0.01056, 0.32152, 0.30826, 0.35966],
            [0.00993, 0.31087, 0.32927, 0.34993],
            [0.01113, 0.31408, 0.32767, 0.34712],
            [0.01488, 0.31347, 0.32345, 0.3482],
            [0.00832, 0.31776, 0.33059, 0.34333],
        ],
        [
            [3e-05, 0.32126, 0.33673, 0.34198],
            [1e-05, 0.32209, 0.32937, 0.34853],
            [1e-05, 0.31457, 0.33208, 0.35334],
            [2e-05, 0.31898, 0.34008, 0.34093],
            [0.40045, 0.20246, 0.19238, 0.20472],
        ],
    ),
    stm=(
        [
            [0.47838, 0.14696, 0.14053, 0.23413],
            [0.60395, 0.13999, 0.14721, 0.10885],
            [0.47609, 0.11847, 0.21265, 0.19279],
            [0.54146, 0.12656, 0.17571, 0.15627],
            [0.56813, 0.10505, 0.17441, 0.15241],
            [0.46415, 0.16005, 0.20184, 0.17396],
        ],
        [
            [0.52275, 0.15725, 0.25704, 0.06296],
            [0.81748, 0.03959, 0.02779, 0.11513],
            [0.95481, 0.00305, 0.00452, 0.03763],
            [0.58403, 0.06982, 0.17409, 0.17206],
            [0.07134, 0.33721, 0.35899, 0.23246],
        ],
    ),
    stcn=(
        [
            [0.14542, 0.26796, 0.27356, 0.31305],
            [0.13216, 0.26807, 0.27864, 0.32114],
            [0.13747, 0.27071, 0.27217, 0.31966],
            [0.12993, 0.2726, 0.27269, 0.32478],
            [0.13124, 0.28399, 0.26752, 0.31725],
            [0.31203, 0.21854, 0.22374, 0.2457],
        ],
        [
            [0.93968, 0.01956, 0.02028, 0.02047],
            [0.17106, 0.29183, 0.27098, 0.26613],
            [0.60541, 0.15296, 0.11676, 0.12487],
            [0.66519, 0.10379, 0.09686, 0.13415],
            [0.33604, 0.23271, 0.21679, 0.21446],
        ],
    ),
    xmem=(
        [
            [0.25778, 0.23975, 0.25451, 0.24796],
            [0.20473, 0.2487, 0.28213, 0.26443],
            [0.25158, 0.24616, 0.25291, 0.24936],
            [0.19312, 0.25879, 0.27583, 0.27227],
            [0.18873, 0.26267, 0.26679, 0.2818],
            [0.17985, 0.26678, 0.26919, 0.28418],
            [0.22955, 0.25208, 0.25816, 0.2602],
            [0.23442, 0.25154, 0.25671, 0.25734],
            [0.20192, 0.26243, 0.2674, 0.26825],
            [0.23852, 0.25186, 0.25615, 0.25347],
            [0.22264, 0.25914, 0.25738, 0.26085],
            [0.21952, 0.25613, 0.26026, 0.26409],
            [0.23273, 0.25467, 0.25524, 0.25736],
        ],
        [
            [0.28681, 0.23733, 0.23763, 0.23822],
            [0.00854, 0.31729, 0.33266, 0.34151],
            [0.25873, 0.23691, 0.24889, 0.25547],
            [0.3512, 0.22036, 0.2157, 0.21274],
            [0.03077, 0.31547, 0.32443, 0.32932],
        ],
    ),
)


def architecture_of(name):
    """The public model whose weights, of whatever size, are called ``name`` here."""
    return PUBLIC[name.partition('_')[0]]


@functools.cache
def converted(name):
    """The model of the official config with converted weights. Do not change it."""
    cfg = Config.fromfile(find_config(f'vos/{name}_official.py')).model
    if name == 'xmem':
        cfg.memory.update(SMALL_MEMORY)
    elif name in CUTIE:
        cfg.memory.pixel_memory.update(SMALL_MEMORY, buffer=10)
    model = MODELS.build(cfg)
    model.load_state_dict(convert(random_weights(name), architecture_of(name), model))
    return model.eval()


def predict(model, length) -> list:
    """Probabilities (1 + O, H, W) of each frame."""
    frames, ids = make_video(length, SIZE)
    stream = VOSStream(model)
    return [stream.probabilities(frame, None if index else ids) for index, frame in enumerate(frames)]


@pytest.mark.parametrize('name', NAMES)
def test_predictions_equal_the_official_code(name):
    means, points = (torch.tensor(numbers) for numbers in REFERENCE[name])
    found = predict(converted(name), len(means) + 1)
    torch.testing.assert_close(torch.stack([p.mean((1, 2)) for p in found[1:]]), means, rtol=0, atol=5e-5)
    torch.testing.assert_close(
        torch.stack([found[-1][:, y, x] for y, x in POINTS]), points, rtol=0, atol=2e-4
    )


def test_padding_changes_the_predictions():
    """A control: the reference numbers tell the official padding from ours."""
    cfg = Config.fromfile(find_config('vos/stm_official.py')).model
    cfg.data_preprocessor.padding = 'centre'
    model = MODELS.build(cfg).eval()
    model.load_state_dict(converted('stm').state_dict())
    means = torch.stack([p.mean((1, 2)) for p in predict(model, 3)[1:]])
    assert (means - torch.tensor(REFERENCE['stm'][0][:2])).abs().max() > 1e-3


@pytest.mark.parametrize('name', NAMES)
def test_every_key_is_used_exactly_once(name):
    architecture = architecture_of(name)
    used = collections.Counter(key for key, _ in architecture.constants)
    for key in converted(name).state_dict():
        used.update(next(found for rule in architecture.rules if (found := rule.resolve(key)) is not None))
    used.update(key for key in shapes(name) if key.startswith(architecture.training_only))
    assert used == collections.Counter(shapes(name).keys())


@pytest.mark.parametrize('name', NAMES)
def test_missing_unexpected_and_misshapen_keys_are_named(name):
    weights = blank_weights(name)
    missing, misshapen = [key for key in weights if key.endswith('.0.conv1.weight')][:2]
    del weights[missing]
    weights[misshapen] = weights[misshapen][:3]
    weights['surplus.weight'] = torch.zeros(2)
    with pytest.raises(ValueError, match='not the weights') as error:
        convert(weights, architecture_of(name), converted(name))
    text = str(error.value)
    assert f'not the weights of {architecture_of(name).name}: ' in text
    assert f'1 missing: {missing};' in text
    assert '1 unexpected: surplus.weight;' in text
    assert re.search(rf'1 misshapen: {re.escape(misshapen)} \(3, .*\) for our .* \(', text)


def test_a_joined_weight_of_another_shape_is_named():
    weights = blank_weights('stm')
    weights['Encoder_M.conv1_m.weight'] = torch.zeros(32, 1, 7, 7)
    with pytest.raises(
        ValueError, match=r'1 misshapen: .*Encoder_M.conv1_m.weight \(32, 1, 7, 7\).* for our value_encoder'
    ):
        convert(weights, PUBLIC['stm'], converted('stm'))


@pytest.mark.parametrize('given', NAMES)
@pytest.mark.parametrize('name', NAMES)
def test_weights_of_another_architecture(name, given):
    if architecture_of(name) is not architecture_of(given):
        with pytest.raises(
            ValueError,
            match=rf'not the weights of {architecture_of(name).name}: \d+ missing: .* unexpected: ',
        ):
            convert(blank_weights(given), architecture_of(name), converted(name))


@pytest.mark.parametrize('number', [3, 6])
def test_other_colour_statistics(number):
    weights = blank_weights('stm')
    weights['Encoder_Q.mean'] = torch.full((1, number, 1, 1), 0.5)
    found = ', '.join(number * ['0.5'])
    with pytest.raises(
        ValueError, match=rf'Encoder_Q.mean is \[{found}\] instead of \[0.485, 0.456, 0.406\]'
    ):
        convert(weights, PUBLIC['stm'], converted('stm'))


def test_old_weights_without_batch_counts():
    weights = {
        key: value for key, value in blank_weights('xmem').items() if not key.endswith('num_batches_tracked')
    }
    out = convert(weights, PUBLIC['xmem'], converted('xmem'))
    assert out['key_encoder.backbone.model.bn1.num_batches_tracked'] == 0
    assert out.keys() == converted('xmem').state_dict().keys()


@pytest.mark.parametrize('name', ['stcn', 'xmem'])
def test_weights_of_static_images_see_no_other_objects(name):
    weights = blank_weights(name)
    weights['value_encoder.conv1.weight'] = torch.ones(64, 4, 7, 7)
    kernel = convert(weights, architecture_of(name), converted(name))[
        'value_encoder.backbone.model.conv1.weight'
    ]
    assert kernel.shape == (64, 5, 7, 7)
    assert not kernel[:, 4].any()
    assert (kernel[:, :4] == 1).all()
    assert (kernel[:, :4] == 1).all()


def test_cutie_of_single_objects_sees_no_other_objects():
    weights = blank_weights('cutie_small')
    weights['mask_encoder.conv1.weight'] = torch.ones(64, 4, 7, 7)
    weights['pixel_fuser.sensory_compress.weight'] = torch.ones(256, 257, 1, 1)
    made = convert(weights, PUBLIC['cutie'], converted('cutie_small'))
    for name in ('value_encoder.backbone.model.conv1.weight', 'pixel_fuser.compress.weight'):
        assert (made[name][:, :-1] == 1).all()
        assert not made[name][:, -1].any()


def test_cutie_needs_no_heads_of_auxiliary_losses():
    weights = {k: v for k, v in blank_weights('cutie_small').items() if not k.startswith('aux_computer')}
    assert convert(weights, PUBLIC['cutie'], converted('cutie_small'))


@pytest.mark.parametrize('name', CUTIE)
def test_the_config_follows_from_the_size_of_cutie(name):
    assert PUBLIC['cutie'].config_of(blank_weights(name)).stem == f'{name}_official'


def test_cutie_of_another_size():
    with pytest.raises(ValueError, match=r'not the weights of Cutie: \d+ missing: .*conv3.*misshapen'):
        convert(blank_weights('cutie_small'), PUBLIC['cutie'], converted('cutie_base'))


def test_other_frequencies_of_cutie():
    weights = blank_weights('cutie_small')
    weights['object_summarizer.pos_enc.inv_freq'] = torch.ones(64)
    with pytest.raises(ValueError, match=r'pos_enc.inv_freq is \[1.0, 1.0, .* instead of \[1.0, 0.9269'):
        convert(weights, PUBLIC['cutie'], converted('cutie_small'))


def test_config_of_another_model():
    with pytest.raises(KeyError, match=r'no rule of STM is for .*: the config is of another model'):
        convert(blank_weights('stm'), PUBLIC['stm'], converted('xmem'))


# Files.


@pytest.fixture(scope='module')
def file(tmp_path_factory):
    """Public weights of STCN as its training writes them, of a data parallel model."""
    path = tmp_path_factory.mktemp('public') / 'stcn.pth'
    network = {f'module.{key}': value for key, value in random_weights('stcn').items()}
    torch.save(dict(it=7, network=network, optimizer={}), path)
    return path


def test_the_tool_writes_a_checkpoint_that_loads(file, tmp_path):
    target = tmp_path / 'new' / 'stcn.pth'
    tool = ROOT / 'tools/model_converters/stcn_to_mmstremn.py'
    done = subprocess.run(
        [sys.executable, tool, file, target], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert '405 tensors of STCN became 390 of stcn_official.py' in done.stdout
    assert re.search(r'stcn.pth: SHA-256 [0-9a-f]{64}', done.stdout)
    loaded = init_segmentor('vos/stcn_official.py', target, 'cpu').state_dict()
    for key, value in converted('stcn').state_dict().items():
        torch.testing.assert_close(loaded[key], value, rtol=0, atol=0)
    meta = torch.load(target, weights_only=True)['meta']
    assert (meta['architecture'], meta['source'], meta['config']) == ('STCN', 'stcn.pth', 'stcn_official.py')


def test_safetensors(tmp_path):
    target = tmp_path / 'weights.safetensors'
    digest = write_weights(target, dict(weight=torch.arange(3.0)), dict(architecture='STM'))
    assert len(digest) == 64
    with safe_open(target, 'pt') as opened:
        assert opened.get_tensor('weight').tolist() == [0, 1, 2]
        assert json.loads(opened.metadata()['meta']) == dict(architecture='STM')


def fails(name, argv, capsys) -> str:
    with pytest.raises(SystemExit) as error:
        run(name, [str(arg) for arg in argv])
    assert 'Traceback' not in capsys.readouterr().err
    return str(error.value)


def test_the_right_tool_is_named(file, tmp_path, capsys):
    text = fails('xmem', [file, tmp_path / 'out.pth'], capsys)
    assert text.startswith(f'error: {file}: these are not the weights of XMem: ')
    assert text.endswith('They look like those of STCN: use stcn_to_mmstremn.py')
    assert 'key_proj.d_proj.weight' in text
    assert not (tmp_path / 'out.pth').exists()


def test_targets_that_will_not_do(file, tmp_path, capsys):
    assert "out.bin: expected a file name that ends in '.pth' or '.safetensors'" in fails(
        'stcn', [file, tmp_path / 'out.bin'], capsys
    )
    (tmp_path / 'out.pth').write_text('mine')
    assert 'out.pth: the file exists' in fails('stcn', [file, tmp_path / 'out.pth'], capsys)
    assert (tmp_path / 'out.pth').read_text() == 'mine'
    argv = [file, tmp_path / 'other.pth', '--config', tmp_path / 'none.py']
    assert 'none.py: no such file' in fails('stcn', argv, capsys)


@pytest.mark.parametrize(
    'content, message',
    [
        (None, 'no such file'),
        ('text', 'expected a file written by torch.save; it is damaged'),
        ('half', 'expected a file written by torch.save; it is damaged'),
        ('code', 'refused, it cannot be read without running code that it names .*VOSDataPreprocessor'),
        ([1, 2], r'expected a state dict \(names and tensors\), found list'),
        ({}, r'expected a state dict \(names and tensors\), found a dict with'),
        (dict(epoch=3, lr=0.1), r'expected a state dict \(names and tensors\), found a dict with epoch, lr'),
    ],
)
def test_files_that_are_no_checkpoint(content, message, file, tmp_path, capsys):
    path = tmp_path / 'given.pth'
    if content == 'text':
        path.write_text('no weights')
    elif content == 'half':
        path.write_bytes(file.read_bytes()[: 2**20])
    elif content == 'code':
        torch.save(dict(network=VOSDataPreprocessor()), path)  # would run code that the file names
    elif content is not None:
        torch.save(content, path)
    error = FileNotFoundError if content is None else ValueError
    with pytest.raises(error, match=rf'given.pth: {message}'):
        read_public_weights(path)
    assert 'given.pth' in fails('stm', [path, tmp_path / 'out.pth'], capsys)


def test_build_model_without_config(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'config .*none.py: no such file'):
        build_model(tmp_path / 'none.py')


# What the official configs need of the rest.


def test_margins():
    end, centre, black = (VOSDataPreprocessor(padding=padding) for padding in ('end', 'centre', 'black'))
    assert end.margins((75, 101)) == (0, 11, 0, 5)
    assert centre.margins((75, 101)) == black.margins((75, 101)) == (5, 6, 2, 3)
    assert centre.margins((32, 48)) == (0, 0, 0, 0)
    assert end.blank_margins((75, 101)) is None
    assert centre.blank_margins((75, 101)) is None
    assert black.blank_margins((75, 101)) == (5, 6, 2, 3)
    frame = torch.full((1, 3, 30, 40), 200)
    outside = [prepare.normalize(frame)[0, :, 0, 0] for prepare in (centre, black)]
    assert not outside[0].any()
    torch.testing.assert_close(outside[1], (-black.mean / black.std).flatten())
    with pytest.raises(ValueError, match="padding must be 'end', 'centre' or 'black', got 'left'"):
        VOSDataPreprocessor(padding='left')


def test_no_object_is_stored_in_black_margins():
    model = converted('stm')
    frames, _ = make_video(1, SIZE)
    image = model.data_preprocessor.normalize(torch.from_numpy(frames[:1]).permute(0, 3, 1, 2))
    features = model.encode_frame(image)
    features.blank = model.data_preprocessor.blank_margins(SIZE)
    masks = torch.ones(1, 1, *image.shape[-2:], dtype=torch.bool)  # an object everywhere, also in the margins
    seen = []
    handle = model.value_encoder.backbone.register_forward_pre_hook(
        lambda _, args: seen.append(args[0][:, 3])
    )
    with torch.no_grad():
        model.encode_value(features, Segmentation(GivenMasks(masks).replace(None)), True)
    handle.remove()
    inside = torch.zeros_like(seen[0])
    inside[:, 2:-3, 5:-6] = 1
    torch.testing.assert_close(seen[0], inside)


def test_masks_of_training_clips_follow_the_padding():
    sample = VOSDataSample(masks=torch.ones(2, 30, 41, dtype=torch.uint8))
    sample.object_ids = [1]
    masks, _ = stack_masks([sample], (32, 48), VOSDataPreprocessor(padding='centre').margins((30, 41)))
    assert (masks[..., 1:-1, 3:-4] == 1).all()
    assert (masks == 255).sum() == 2 * (32 * 48 - 30 * 41)


def xmem_memory(**kwargs):
    torch.manual_seed(0)
    small = dict(
        min_frames=2,
        max_frames=3,
        every=2,
        num_prototypes=3,
        capacity=7,
        k=4,
        sensory_channels=4,
        compat='xmem',
    )
    return TwoLevelMemory(**(small | dict(value_channels=6, decoder_channels=5) | kwargs)).eval()


def entry(seed, prompted=False, decoded=True):
    draw = torch.Generator().manual_seed(seed)
    key, value, shrinkage = (torch.randn(1, 1, 6, *size, generator=draw) for size in ((5,), (6,), ()))
    extras = dict(decoded=torch.randn(1, 1, 6, 5, generator=draw)) if decoded else {}
    return Entry(key, value, (2, 3), shrinkage.square() + 1, prompted, extras)


def query(seed):
    draw = torch.Generator().manual_seed(1000 + seed)
    return Query(torch.randn(1, 6, 5, generator=draw), torch.rand(1, 6, 5, generator=draw))


@torch.no_grad()
def test_xmem_reads_the_sensory_state_as_channels():
    memory = xmem_memory()
    state = memory.init(entry(0))
    state = memory.write(state, entry(0, prompted=True, decoded=False))
    readout, state = memory.read(state, query(1))
    assert readout.shape == (1, 1, 6, 10)
    torch.testing.assert_close(readout[..., 6:], state.sensory)
    assert state.sensory.any()


@torch.no_grad()
def test_xmem_stores_from_the_last_stored_frame_on_and_follows_the_decoder_between():
    memory, prompts = xmem_memory(every=3, max_frames=9, min_frames=8), (0, 4)
    state, stored = memory.init(entry(0)), []
    for step in range(12):
        if step:
            _, state = memory.read(state, query(step))
        before, offered = state.sensory.clone(), entry(step, step in prompts, decoded=step > 0)
        if step in prompts or memory.wants(state):
            state = memory.write(state, offered)
            expected = memory.from_value(offered.value, before, (2, 3))  # the decoder's update is left out
            stored.append(step)
        else:
            state = memory.pass_over(state, offered.extras['decoded'])
            expected = memory.from_decoded(offered.extras['decoded'], before, (2, 3))
        torch.testing.assert_close(state.sensory, expected)
    assert stored == [0, 3, 4, 7, 10]
    assert state.written_at[0, 0, : state.frames].tolist() == stored


@torch.no_grad()
def test_xmem_averages_the_shrinkage_of_prototypes():
    states = {}
    for compat in (None, 'xmem'):
        memory = xmem_memory(every=1, compat=compat)
        state = memory.init(entry(0))
        for step in range(3):
            if step:
                _, state = memory.read(state, query(step))
            state = memory.write(state, entry(step, step == 0, decoded=step > 0))
        assert state.prototypes == 3
        states[compat] = state.long_shrinkage[0, 0, :3]
    candidates = entry(1).shrinkage
    assert all((value == candidates).any() for value in states[None])
    assert not any((value == candidates).any() for value in states['xmem'])
    assert (states['xmem'] > candidates.min()).all()
    assert (states['xmem'] < candidates.max()).all()


@torch.no_grad()
def test_xmem_drops_all_prototypes_that_tie():
    """Prototypes that nobody read tie at 0: the public code drops all of them to make room for one."""
    kept = {}
    for compat in (None, 'xmem'):
        memory = xmem_memory(every=1, compat=compat)
        state = memory.init(entry(0))
        for step in range(7):
            if step:
                _, state = memory.read(state, query(step))
                state.long_usage[:] = 0
            state = memory.write(state, entry(step, step == 0, decoded=step > 0))
            if state.prototypes:
                kept.setdefault(compat, []).append(state.prototypes)
    assert kept[None] == [3, 6, 7, 7, 7]
    assert kept['xmem'] == [3, 6, 3, 6, 3]


def test_unknown_compat():
    expected = r"TwoLevelMemory.compat must be None or 'xmem' or 'cutie', got 'stm'"
    with pytest.raises(ValueError, match=expected):
        xmem_memory(compat='stm')
