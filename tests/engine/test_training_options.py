"""Averaged weights (EMA), gradient checkpointing and mixed precision, alone and together with exact resume
and DDP."""

import json
from types import SimpleNamespace

import pytest
import torch
from helpers.memory_cases import generator
from helpers.runs import SMALL_VOS, TINY, largest_difference, run_script, run_tool
from helpers.vos_cases import make_batch, make_clip, tiny_config, tiny_model
from mmengine.config import ConfigDict
from mmengine.hooks import EMAHook
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from mmstremn.engine import ActivationCheckpointingHook, BFloat16OptimWrapper, CheckpointMatchHook
from mmstremn.engine.launch import use_bfloat16
from mmstremn.memory.recurrent.lean_gates import GatedOutput, LSTMGates, STLSTMGates, alias
from mmstremn.registry import MODELS
from mmstremn.structures import PredictionDataSample

SIGKILLED = -9
EMA = [
    'default_hooks.ema.type=EMAHook',
    'default_hooks.ema.momentum=0.05',
]
CHECKPOINTED = ['key_encoder.backbone', 'value_encoder', 'decoder']
STM_READER = dict(type='DenseReader', affinity=dict(type='DotAffinity'))
MEMORIES = dict(
    stremn=dict(type='SlotMemory', num_slots=3, train_slots=2, selector=dict(type='GumbelSelector')),
    stcn=dict(type='GrowingMemory'),
    stm=dict(type='GrowingMemory', reader=STM_READER, keep_last=True, per_object_key=True),
    xmem=dict(type='TwoLevelMemory', num_prototypes=8, capacity=16, sensory_channels=4),
    convlstm=dict(type='ConvLSTMMemory', kernel=3, layers=2),
    predrnn=dict(type='STLSTMMemory', kernel=3, layers=2, decoupling=0.1),
    e3d_lstm=dict(type='E3DLSTMMemory', kernel=3, layers=2),
)


def load(path) -> dict:
    return torch.load(path, weights_only=False)


def trained(checkpoint: dict) -> dict:
    """The weights that training goes on with, of a run with averages."""
    return {
        name[len('module.') :]: t
        for name, t in checkpoint['ema_state_dict'].items()
        if name.startswith('module.')
    }


# Averaged weights.


@pytest.fixture(scope='module')
def averaged(tmp_path_factory):
    """A run with EMA whose checkpoints are all kept."""
    folder = tmp_path_factory.mktemp('averaged')
    keep = ['default_hooks.checkpoint.interval=1', 'default_hooks.checkpoint.max_keep_ckpts=-1']
    assert run_tool('train', [TINY, '--work-dir', folder, '--cfg-options', *EMA, *keep]) == 0
    return folder


def test_checkpoints_hold_the_average_of_what_was_trained(averaged, tmp_path):
    checkpoints = [load(averaged / f'iter_{i}.pth') for i in range(1, 13)]
    average = trained(checkpoints[0])
    for checkpoint in checkpoints[1:]:
        average = {name: 0.95 * average[name] + 0.05 * new for name, new in trained(checkpoint).items()}
    assert largest_difference(checkpoints[-1]['state_dict'], average) <= 1e-6
    assert run_tool('train', [TINY, '--work-dir', tmp_path]) == 0
    plain = load(tmp_path / 'iter_12.pth')['state_dict']
    assert (
        largest_difference(trained(checkpoints[-1]), plain) == 0
    )  # neither the average nor validating it changes training
    assert largest_difference(average, plain) > 1e-2


@pytest.mark.parametrize(
    'kill', [('iteration', '8'), ('half written', 'best_DAVIS_J&F_iter_10.pth')], ids=' '.join
)
def test_killed_and_resumed_run_has_the_same_averages(kill, averaged, tmp_path):
    arguments = [TINY, '--work-dir', tmp_path, '--resume', '--cfg-options', *EMA]
    assert run_tool('train', arguments, kill=kill) == SIGKILLED
    assert run_tool('train', arguments) == 0
    expected, found = (load(folder / 'iter_12.pth') for folder in (averaged, tmp_path))
    for part in ('state_dict', 'ema_state_dict'):
        assert largest_difference(found[part], expected[part]) <= 1e-5


def test_the_averages_are_validated_and_tested(averaged, tmp_path):
    def measure(checkpoint, *options):
        out = tmp_path / 'out.json'
        assert run_tool('test', [TINY, checkpoint, '--work-dir', tmp_path, '--out', out, *options]) == 0
        return json.loads(out.read_text())['DAVIS/J&F']

    lines = next(averaged.glob('*/vis_data/scalars.json')).read_text().splitlines()
    validated = next(
        entry['DAVIS/J&F'] for entry in map(json.loads, lines) if 'DAVIS/J&F' in entry
    )  # at iteration 5
    checkpoint = load(averaged / 'iter_5.pth')
    torch.save(dict(state_dict=trained(checkpoint)), tmp_path / 'trained.pth')
    figure = measure(averaged / 'iter_5.pth')
    assert figure == measure(averaged / 'iter_5.pth', '--cfg-options', *EMA) == validated
    assert figure != measure(tmp_path / 'trained.pth')


def test_two_processes_average_like_one(tmp_path):
    options = [*EMA, 'optim_wrapper.optimizer.type=SGD', 'model.dropout=0', 'train_cfg.max_iters=3']
    options += [
        'val_cfg=None',
        'val_dataloader=None',
        'val_evaluator=None',
        'default_hooks.checkpoint.save_best=None',
    ]

    def arguments(folder, batch_size):
        return [
            '--work-dir',
            tmp_path / folder,
            '--cfg-options',
            *options,
            f'train_dataloader.batch_size={batch_size}',
        ]

    assert run_tool('train', [TINY, *arguments('one', 2)]) == 0
    run_script('dist_train.sh', TINY, 2, *arguments('two', 1))
    one, two = (load(tmp_path / folder / 'iter_3.pth') for folder in ('one', 'two'))
    assert largest_difference(one['state_dict'], two['state_dict']) <= 1e-5
    assert largest_difference(one['state_dict'], trained(one)) > 1e-3


def as_weights(state_dict):
    return state_dict


def as_data_parallel(state_dict):
    return dict(state_dict={f'module.{name}': tensor for name, tensor in state_dict.items()})


@pytest.mark.parametrize('form', [as_weights, as_data_parallel])
def test_weights_in_other_forms_reach_the_average(form):
    """What is tested is the average, which mmengine's hook would leave at random weights, or stop at."""
    source, model = nn.Linear(2, 3), nn.Linear(2, 3)
    hooks = [EMAHook(), CheckpointMatchHook()]
    runner = SimpleNamespace(model=model, hooks=hooks, _resume=False, logger=MMLogger.get_current_instance())
    hooks[0].before_run(runner)
    checkpoint = form(source.state_dict())
    for hook in sorted(hooks, key=lambda hook: hook.priority != 'HIGHEST'):
        hook.after_load_checkpoint(runner, checkpoint)
    assert largest_difference(hooks[0].ema_model.module.state_dict(), source.state_dict()) == 0


def test_a_run_with_averages_is_not_resumed_without(averaged, tmp_path):
    output = tmp_path / 'output'
    assert (
        run_tool('train', [TINY, '--work-dir', tmp_path, '--resume', averaged / 'iter_6.pth'], output=output)
        != 0
    )
    assert 'expected an EMAHook in the config' in output.read_text()


# Gradient checkpointing.


def clip_batch(model):
    return make_batch(model, make_clip(0, objects=2, length=5), make_clip(1, length=5))


def prediction_model(memory):
    recurrent = 'LSTM' in memory['type']
    parts = dict(backbone=dict(type='ConvBackbone', widths=(4, 8)), key_channels=6, value_channels=8)
    if recurrent:
        parts = dict(backbone=dict(type='PatchBackbone', patch=4), decoder=dict(type='PatchDecoder'))
        parts |= dict(key_channels=0, value_channels=16)
    torch.manual_seed(0)
    return MODELS.build(dict(type='VideoPredictor', memory=memory, **parts))


def frames():
    samples = [
        PredictionDataSample(metainfo=dict(clip_name=str(i), input_frames=3, sample_seed=i)) for i in range(2)
    ]
    return dict(inputs=torch.rand(2, 6, 1, 16, 16, generator=generator(0)), data_samples=samples)


def case(task, name):
    """A model and what its ``loss`` gets."""
    model = tiny_model(MEMORIES[name]) if task == 'vos' else prediction_model(MEMORIES[name])
    return model.train(), clip_batch(model) if task == 'vos' else frames()


def step(model, data: dict, autocast: bool = False):
    """Losses and gradients by name, and the bytes that were kept for backward."""
    model.zero_grad(set_to_none=True)
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage  # held, or another tensor might get its address
        return tensor

    with (
        saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast('cpu', torch.bfloat16, enabled=autocast),
    ):
        losses = model(**data, mode='loss')
    size = sum(storage.nbytes() for storage in kept.values())
    kept.clear()
    sum(losses.values()).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: loss.detach() for name, loss in losses.items()}, gradients, size


@pytest.mark.parametrize('autocast', [False, True])
@pytest.mark.parametrize(
    ('task', 'name', 'modules', 'share'),
    [
        ('vos', 'stremn', CHECKPOINTED, 0.3),
        ('vos', 'stm', CHECKPOINTED, 0.3),
        ('vos', 'xmem', ['key_encoder', 'value_encoder', 'decoder'], 0.3),
        ('prediction', 'stremn', ['key_encoder', 'value_backbone', 'decoder'], 0.8),
        ('prediction', 'predrnn', 'memory.cells.1', 0.9),
    ],
)
def test_gradients_are_those_without_checkpointing_and_less_is_kept(task, name, modules, share, autocast):
    model, data = case(task, name)
    losses, gradients, size = step(model, data, autocast)
    hook = ActivationCheckpointingHook(modules)
    hook.before_train(SimpleNamespace(model=model))
    found_losses, found, found_size = step(model, data, autocast)
    hook.after_train(None)
    assert largest_difference(found_losses, losses) <= 1e-6
    assert largest_difference(found, gradients) <= 1e-6
    assert found_size < share * size
    assert step(model, data, autocast)[2] == size  # switched off again


def test_batch_norms_that_learn_count_a_batch_once():
    def statistics(modules):
        backbone = dict(type='TimmBackbone', model_name='test_resnet', frozen_bn=False)
        torch.manual_seed(0)
        model = MODELS.build(tiny_config(value_backbone=backbone) | dict(backbone=backbone)).train()
        ActivationCheckpointingHook(modules).before_train(SimpleNamespace(model=model))
        step(model, clip_batch(model))
        return {name: buffer.float() for name, buffer in model.named_buffers() if 'backbone' in name}

    plain = statistics([])
    assert any('running_mean' in name and buffer.abs().max() > 0 for name, buffer in plain.items())
    assert largest_difference(statistics(CHECKPOINTED), plain) <= 1e-6


def test_unknown_module_is_named_with_what_there_is():
    hook = ActivationCheckpointingHook('value_encoder.bone')
    with pytest.raises(
        ValueError, match=r"no module 'value_encoder\.bone'; value_encoder has backbone, fuse"
    ):
        hook.before_train(SimpleNamespace(model=tiny_model()))


# Mixed precision.


def test_the_optimizer_wrapper_casts_without_scaling():
    model = nn.Linear(2, 2)
    wrapper = BFloat16OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0))
    assert wrapper.scale_loss(torch.ones(())) == 1
    with wrapper.optim_context(model):
        out = model(torch.ones(1, 2))
    assert out.dtype == torch.bfloat16 and model(torch.ones(1, 2)).dtype == torch.float32
    wrapper.update_params(out.sum())
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert (
        wrapper.state_dict().keys()
        == OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0)).state_dict().keys()
    )


def test_amp_takes_bfloat16_unless_the_config_says_how():
    def kind(**optim_wrapper):
        cfg = ConfigDict(optim_wrapper=dict(optim_wrapper))
        use_bfloat16(cfg)
        return cfg.optim_wrapper.type

    assert kind() == kind(type='OptimWrapper') == 'mmstremn.BFloat16OptimWrapper'
    assert kind(type='AmpOptimWrapper', loss_scale=512.0) == 'AmpOptimWrapper'
    with pytest.raises(ValueError, match=r"--amp: expected optim_wrapper\.type='OptimWrapper', got 'Other'"):
        kind(type='Other')


def watch_types(memory) -> list[dict]:
    """The types of a memory's states before and after each write from now on."""
    seen, write = [], memory.write

    def watched(state, entry):
        new = write(state, entry)
        seen.extend({name: t.dtype for name, t in s.tensors().items()} for s in (state, new))
        return new

    memory.write = watched
    return seen


VOS = [('vos', name) for name in MEMORIES]
PREDICTION = [('prediction', name) for name in MEMORIES if name != 'stm']


@pytest.mark.parametrize(('task', 'name'), VOS + PREDICTION)
def test_a_step_in_bfloat16_has_the_gradients_of_float32(task, name):
    model, data = case(task, name)
    losses, exact, size = step(model, data)
    types = watch_types(model.memory)
    found_losses, found, found_size = step(model, data, autocast=True)
    assert found_size != size  # autocast is on
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in found_losses.values())
    assert largest_difference(found_losses, losses) <= 0.01
    assert found.keys() == exact.keys() and {g.dtype for g in found.values()} == {torch.float32}
    whole = torch.cat([g.flatten() for g in exact.values()]).norm()
    for parameter in exact:
        one, other = exact[parameter].flatten(), found[parameter].flatten()
        assert other.isfinite().all()
        if (
            one.norm() > 1e-5 * whole
        ):  # below it is rounding: softmax is blind to what all keys have in common
            assert torch.cosine_similarity(one, other, 0) > 0.95, parameter
            assert 0.8 < other.norm() / one.norm() < 1.25, parameter
    assert all(one == types[0] for one in types)
    sums = {'hits', 'usage', 'long_usage', 'cell', 'memory', 'sensory', 'overlap'}  # what adds up over frames
    assert all(types[0][field] == torch.float32 for field in sums & types[0].keys())


DEVICES = [
    'cpu',
    pytest.param('cuda', marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')),
]


def lstm(x, c):
    return LSTMGates.apply(1 * x, c, torch.empty_like(c), torch.empty_like(c))


def plain_lstm(x, c):
    i, f, g, o = x.chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def st_lstm(x, h, m_sums, c, m):
    both = torch.cat([c, m], 1).detach()
    return STLSTMGates.apply(x, h, m_sums, c, m, both, *(alias(half) for half in both.chunk(2, 1)))


def plain_st_lstm(x, h, m_sums, c, m):
    ix, fx, gx, ix_m, fx_m, gx_m, ox = x.chunk(7, 1)
    ih, fh, gh, oh = h.chunk(4, 1)
    im, fm, gm = m_sums.chunk(3, 1)
    added_c, added_m = (ix + ih).sigmoid() * (gx + gh).tanh(), (ix_m + im).sigmoid() * (gx_m + gm).tanh()
    c, m = (fx + fh + 1).sigmoid() * c + added_c, (fx_m + fm + 1).sigmoid() * m + added_m
    return torch.cat([c, m], 1), c, m, ox + oh, added_c, added_m


def output(o, z):
    return (GatedOutput.apply(1 * o, 1 * z, torch.empty_like(o, dtype=torch.float32)),)


def plain_output(o, z):
    return (o.sigmoid() * z.tanh(),)


GATES = [
    (lstm, plain_lstm, (4,), 1),
    (st_lstm, plain_st_lstm, (7, 4, 3), 2),
    (output, plain_output, (1, 1), 0),
]


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize(
    ('lean', 'plain', 'sums', 'states'), GATES, ids=lambda x: getattr(x, '__name__', None)
)
def test_gates_under_autocast(lean, plain, sums, states, device):
    """Sums come from convolutions in bfloat16, states stay in float32; gradients have the types of what they
    belong to."""
    width, inputs = 3, []
    for index, channels in enumerate((*sums, *[1] * states)):
        dtype = torch.bfloat16 if index < len(sums) else torch.float32
        values = torch.randn(2, channels * width, 4, 4, generator=generator(index))
        inputs.append(values.to(device, dtype).requires_grad_())

    def gradients(function, inside):
        with torch.autocast(device, torch.bfloat16):
            results = function(*inputs)
            pulls = [torch.randn(r.shape, generator=generator(50 + i)).to(r) for i, r in enumerate(results)]
            if inside:
                return results, torch.autograd.grad(results, inputs, pulls)
        return results, torch.autograd.grad(results, inputs, pulls)

    results, found = gradients(lean, False)
    assert [gradient.dtype for gradient in found] == [tensor.dtype for tensor in inputs]
    for one, other in zip(
        found, gradients(lean, True)[1], strict=True
    ):  # backward is not under autocast, but may be
        assert torch.equal(one, other)
    expected, wanted = gradients(plain, False)
    for one, other in zip((*results, *found), (*expected, *wanted), strict=True):
        torch.testing.assert_close(one.float(), other.float(), rtol=0.02, atol=0.02)


# All together, by the tools.


def test_everything_at_once_is_resumed_exactly_and_tested_strictly(tmp_path):
    options = [EMA[0], 'default_hooks.ema.ema_type=MomentumAnnealingEMA', 'default_hooks.ema.gamma=10']
    options += ["activation_checkpointing=['key_encoder.backbone','value_encoder','decoder']"]

    def train(folder, *arguments, kill=None):
        where = [SMALL_VOS, '--work-dir', tmp_path / folder, '--amp', *arguments]
        return run_tool('train', [*where, '--cfg-options', *options], kill=kill)

    assert train('whole') == 0
    assert train('killed', kill=('iteration', '3')) == SIGKILLED
    assert train('killed', '--resume') == 0
    whole, killed = (load(tmp_path / folder / 'iter_6.pth') for folder in ('whole', 'killed'))
    for part in ('state_dict', 'ema_state_dict'):
        assert largest_difference(whole[part], killed[part]) <= 1e-5
    assert 'loss_scaler' not in whole['optimizer']
    frozen = [name for name in whole['state_dict'] if 'running_' in name]
    assert frozen and all(torch.equal(whole['state_dict'][name], trained(whole)[name]) for name in frozen)
    arguments = [
        SMALL_VOS,
        tmp_path / 'whole/iter_6.pth',
        '--work-dir',
        tmp_path,
        '--out',
        tmp_path / 'out.json',
    ]
    assert run_tool('test', arguments) == 0
    assert 0 < json.loads((tmp_path / 'out.json').read_text())['DAVIS/J&F'] < 1


def test_checkpointing_is_a_line_of_the_config(tmp_path):
    output = tmp_path / 'output'
    wrong = ['--work-dir', tmp_path, '--cfg-options', "activation_checkpointing=['neck']"]
    assert run_tool('train', [TINY, *wrong], output=output) != 0
    assert "activation_checkpointing: there is no module 'neck'; TinySegmentor has" in output.read_text()


def test_accumulated_gradients_are_resumed_exactly_at_whole_updates(tmp_path):
    options = ['--cfg-options', 'optim_wrapper.accumulative_counts=3']

    def train(folder, *arguments, kill=None):
        return run_tool('train', [TINY, '--work-dir', tmp_path / folder, *arguments, *options], kill=kill)

    assert train('whole') == 0
    assert train('killed', kill=('iteration', '7')) == SIGKILLED
    assert train('killed', '--resume') == 0
    whole, killed = (load(tmp_path / folder / 'iter_12.pth')['state_dict'] for folder in ('whole', 'killed'))
    assert largest_difference(whole, killed) <= 1e-5
