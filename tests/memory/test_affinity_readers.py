"""Affinities and readers against the formulas, written out in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers.memory_cases import GRID, make_entry, make_query, run
from torch.overrides import TorchFunctionMode

from mmstremn.memory import (
    READERS,
    AnisotropicL2Affinity,
    CosineAffinity,
    DenseReader,
    DotAffinity,
    FIFOSelector,
    GrowingMemory,
    KernelizedReader,
    L2Affinity,
    Query,
    SlotMemory,
    TopKReader,
    readers,
)
from mmstremn.memory.slots.reading import read_slots

B, G, S, P, CK, CV = 2, 3, 4, 5, 6, 7
TOLERANCE = dict(rtol=1e-5, atol=1e-5)


def plain_dot(q, k, e, s):
    return q @ k.mT / math.sqrt(q.shape[-1])


def plain_cosine(q, k, e, s):
    return (q / q.norm(dim=-1, keepdim=True)) @ (k / k.norm(dim=-1, keepdim=True)).mT / 0.07


def plain_l2(q, k, e, s):
    return -(k[..., None, :, :] - q[..., :, None, :]).square().sum(-1) / math.sqrt(q.shape[-1])


def plain_anisotropic(q, k, e, s):
    distance = (e[..., :, None, :] * (k[..., None, :, :] - q[..., :, None, :]).square()).sum(-1)
    return -s[..., None, :] * distance / math.sqrt(q.shape[-1])


AFFINITY = {
    'dot': (DotAffinity, plain_dot),
    'cosine': (CosineAffinity, plain_cosine),
    'l2': (L2Affinity, plain_l2),
    'anisotropic': (AnisotropicL2Affinity, plain_anisotropic),
}
AFFINITY_IDS = pytest.mark.parametrize('name', AFFINITY)


@pytest.fixture
def case():
    """Query, keys, shrinkages, values and which slots are usable; float32."""
    g = torch.Generator().manual_seed(0)
    usable = torch.rand(B, G, S, generator=g) > 0.4
    usable[..., 1] = True
    assert not usable.all()
    return dict(
        query=Query(torch.randn(B, P, CK, generator=g), torch.rand(B, P, CK, generator=g)).on((1, P)),
        key=torch.randn(B, G, S, P, CK, generator=g),
        shrinkage=1 + torch.randn(B, G, S, P, generator=g).square(),
        value=torch.randn(B, G, S, P, CV, generator=g),
        usable=usable,
    )


def plain_weights(plain, case):
    """Attention (B, G, P, S * P) in float64."""
    q, e = case['query'].key.double()[:, None], case['query'].selection.double()[:, None]
    k, s = case['key'].double().flatten(2, 3), case['shrinkage'].double().flatten(2)
    barred = ~case['usable'].repeat_interleave(P, -1)[:, :, None]
    return (
        plain(q.expand(-1, G, -1, -1), k, e.expand(-1, G, -1, -1), s)
        .masked_fill(barred, -math.inf)
        .softmax(-1)
    )


def plain_read(plain, case, k=None):
    """The readout (B, G, P, Cv) and the shares (B, G, S)."""
    weights = plain_weights(plain, case)
    if k is not None:
        weights = weights * (weights >= weights.topk(k, -1).values[..., -1:])
        weights = weights / weights.sum(-1, keepdim=True)
    return weights @ case['value'].double().flatten(2, 3), weights.unflatten(-1, (S, P)).sum(-1).mean(2)


@AFFINITY_IDS
def test_affinity_equals_the_formula_under_softmax(name, case):
    affinity, plain = AFFINITY[name]
    case['usable'][:] = True
    q, k = affinity()(case['query'], case['key'].flatten(2, 3), case['shrinkage'].flatten(2))
    weights = (q @ k.mT).softmax(-1)
    torch.testing.assert_close(weights.double(), plain_weights(plain, case), **TOLERANCE)


def test_l2_differs_from_dot_and_from_its_square_root(case):
    """So the comparison with the formulas is no accident."""
    l2 = plain_weights(plain_l2, case)
    assert (l2 - plain_weights(plain_dot, case)).abs().max() > 0.05
    assert (l2 - plain_weights(lambda *x: -plain_l2(*x).neg().sqrt(), case)).abs().max() > 0.05


def test_the_squared_query_counts_only_with_shrinkage(case):
    def without_square(q, k, e, s):
        constant = s[..., None, :] * (e * q.square()).sum(-1, keepdim=True) / math.sqrt(CK)
        return plain_anisotropic(q, k, e, s) + constant

    whole = plain_weights(plain_anisotropic, case)
    assert (plain_weights(without_square, case) - whole).abs().max() > 0.05
    case['shrinkage'][:] = 1
    whole = plain_weights(plain_anisotropic, case)
    torch.testing.assert_close(plain_weights(without_square, case), whole, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('missing', ['selection', 'shrinkage'])
def test_anisotropic_affinity_names_what_is_missing(missing, case):
    case['query'].selection = None if missing == 'selection' else case['query'].selection
    shrinkage = None if missing == 'shrinkage' else case['shrinkage'].flatten(2)
    with pytest.raises(ValueError, match=f'needs Query.selection.*{missing}=False'):
        AnisotropicL2Affinity()(case['query'], case['key'].flatten(2, 3), shrinkage)


@AFFINITY_IDS
@pytest.mark.parametrize('k', [None, 3, 8])
def test_reader_equals_the_explicit_softmax(name, k, case):
    affinity, plain = AFFINITY[name]
    reader = DenseReader(affinity()) if k is None else TopKReader(affinity(), k).eval()
    if k is not None:
        case['usable'][..., :2] = True  # at least 2 * P positions, so that k counts
    readout, share = reader(**case)
    expected, expected_share = plain_read(plain, case, k)
    torch.testing.assert_close(readout.double(), expected, **TOLERANCE)
    torch.testing.assert_close(share.double(), expected_share, **TOLERANCE)
    torch.testing.assert_close(share.sum(-1), torch.ones(B, G))
    assert (share[~case['usable']] == 0).all()


@AFFINITY_IDS
def test_top_k_of_everything_is_dense(name, case):
    affinity = AFFINITY[name][0]()
    dense = DenseReader(affinity)(**case)
    for k in (S * P, 10 * S * P):
        for got, expected in zip(TopKReader(affinity, k).eval()(**case), dense, strict=True):
            torch.testing.assert_close(got, expected, **TOLERANCE)


def test_top_k_counts_in_evaluation_only(case):
    reader = TopKReader(k=2)
    dense = DenseReader()(**case)[0]
    torch.testing.assert_close(reader.train()(**case)[0], dense, rtol=0, atol=0)
    assert (reader.eval()(**case)[0] - dense).abs().max() > 0.01


def test_top_k_may_exceed_the_usable_positions(case):
    case['usable'][:] = False
    case['usable'][..., 2] = True
    readout, share = TopKReader(k=P + 3).eval()(**case)
    torch.testing.assert_close(readout, DenseReader()(**case)[0], **TOLERANCE)
    torch.testing.assert_close(share[..., 2], torch.ones(B, G), **TOLERANCE)
    assert (share[..., [0, 1, 3]] == 0).all()


@AFFINITY_IDS
@pytest.mark.parametrize('reader', READERS)
def test_large_distances_give_no_nan(name, reader, case):
    case['key'] *= 1e4
    case['query'].key *= 1e4
    readout, share = reader(AFFINITY[name][0]()).eval()(**case)
    assert readout.isfinite().all()
    torch.testing.assert_close(share.sum(-1), torch.ones(B, G))
    assert readout.abs().max() <= case['value'].abs().max() * (1 + 1e-5)


@AFFINITY_IDS
@pytest.mark.parametrize('reader', READERS)
def test_unusable_slots_have_no_say(name, reader, case):
    reader = reader(AFFINITY[name][0]()).eval()
    before = reader(**case)
    for field, content in (('key', 3.0), ('value', 1e4), ('shrinkage', 5.0)):
        case[field] = torch.where(
            case['usable'].view(B, G, S, *[1] * (case[field].dim() - 3)), case[field], content
        )
    for got, expected in zip(reader(**case), before, strict=True):
        torch.testing.assert_close(got, expected, **TOLERANCE)


@AFFINITY_IDS
@pytest.mark.parametrize('reader', READERS)
def test_bf16_is_read_in_float32(name, reader, case):
    affinity, plain = AFFINITY[name]
    half = dict(
        query=Query(case['query'].key.bfloat16(), case['query'].selection.bfloat16()).on((1, P)),
        key=case['key'].bfloat16(),
        shrinkage=case['shrinkage'].bfloat16(),
        value=case['value'].bfloat16(),
        usable=case['usable'],
    )
    as_dense = {TopKReader: dict(k=S * P), KernelizedReader: dict(k=S * P, sigma=1e4)}
    reader = reader(affinity(), **as_dense.get(reader, {})).eval()
    readout, share = reader(**half)
    assert readout.dtype == torch.bfloat16
    assert share.dtype == torch.float32
    expected, expected_share = plain_read(plain, half)
    torch.testing.assert_close(readout.double(), expected, rtol=1e-2, atol=1e-2)  # the rounding of the output
    torch.testing.assert_close(share.double(), expected_share, **TOLERANCE)


@AFFINITY_IDS
@pytest.mark.parametrize('reader', READERS)
def test_autocast_changes_nothing(name, reader, case):
    reader = reader(AFFINITY[name][0]()).eval()
    expected = reader(**case)
    with torch.autocast('cpu', torch.bfloat16):
        got = reader(**case)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@AFFINITY_IDS
@pytest.mark.parametrize('reader', READERS)
def test_gradients_equal_those_of_the_formula(name, reader, case):
    affinity, plain = AFFINITY[name]
    shape = (B, G, S, 1, 1)
    for field in ('key', 'value'):
        case[field] = case[field] * case['usable'].view(shape)  # empty slots are zero
    leaves = [case['query'].key, case['query'].selection, case['key'], case['shrinkage'], case['value']]
    for leaf in leaves:
        leaf.requires_grad_()
    goal = torch.randn(B, G, P, CV, generator=torch.Generator().manual_seed(1))
    (reader(affinity()).train()(**case)[0] * goal).sum().backward()
    got = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad.clone() for leaf in leaves]
    assert all(gradient.isfinite().all() for gradient in got)
    if name == 'cosine':
        case['key'] = torch.where(
            case['usable'].view(shape), case['key'], 1.0
        )  # the formula has no answer for zero keys
    for leaf in leaves:
        leaf.grad = None
    (plain_read(plain, case)[0] * goal).sum().backward()
    for gradient, leaf in zip(got, leaves, strict=True):
        expected = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)
    assert got[0].abs().max() > 1e-3


def test_shares_carry_no_gradient(case):
    case['key'].requires_grad_()
    for reader in (DenseReader(), TopKReader().eval()):
        assert not reader(**case)[1].requires_grad


@pytest.mark.parametrize('reader', READERS)
def test_objects_of_a_shared_key_read_like_single_ones(reader):
    memory = SlotMemory(3, reader=reader().eval(), key_channels=3, value_channels=5).eval()
    with torch.no_grad():
        state, _ = run(
            memory, [make_entry(i, batch=2, objects=3) for i in range(2)]
        )  # one of three slots is empty
    query = make_query(batch=2).on(GRID)
    together, share = read_slots(memory.reader, state, query)
    assert together.shape == (2, 3, 4, 5)
    assert (share[..., 2] == 0).all()
    for index in range(3):
        alone = memory.reader(
            query, state.key, None, state.value[:, index : index + 1], state.written_at >= 0
        )
        torch.testing.assert_close(together[:, index], alone[0][:, 0], **TOLERANCE)
        torch.testing.assert_close(share, alone[1], **TOLERANCE)


def test_shares_are_averaged_over_groups_born_at_different_steps():
    memory = SlotMemory(3, key_channels=3, value_channels=5).eval()
    with torch.no_grad():
        state, _ = run(memory, [make_entry(0, objects=2)])
        state = memory.write(memory.add_objects(state, 1), make_entry(1, objects=3))
        readout, share = read_slots(memory.reader, state, make_query())
        old, old_share = memory.reader(
            make_query(), state.key, None, state.value[:, :1], state.written_at >= 0
        )
    assert readout.shape == (1, 3, 4, 5)
    torch.testing.assert_close(readout[:, :1], old, **TOLERANCE)
    only = torch.tensor([[[False, True, False]]])
    new, new_share = memory.reader(make_query(), state.key, None, state.value[:, 2:], only)
    torch.testing.assert_close(readout[:, 2:], new, **TOLERANCE)
    torch.testing.assert_close(share, (old_share + new_share) / 2, **TOLERANCE)


@AFFINITY_IDS
@pytest.mark.parametrize('reader', READERS)
def test_unusable_slots_change_no_bit(name, reader, case):
    assert not case['usable'].all()
    reader = reader(AFFINITY[name][0](), **(dict(k=3) if reader is TopKReader else {})).eval()
    before = reader(**case)
    case['value'] = torch.where(case['usable'].view(B, G, S, 1, 1), case['value'], 1e9)
    for got, expected in zip(reader(**case), before, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=0)


@AFFINITY_IDS
def test_plain_products_equal_the_fused_call(name, case, monkeypatch):
    """What CPUs do and what GPUs do."""
    plain = DenseReader(AFFINITY[name][0]())(**case)
    monkeypatch.setattr(
        readers, '_attend', lambda q, k, v: F.scaled_dot_product_attention(q, k, v, scale=1.0)
    )
    for got, expected in zip(DenseReader(AFFINITY[name][0]())(**case), plain, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('with_gradients', [False, True])
@pytest.mark.parametrize('memory_class', [SlotMemory, GrowingMemory])
def test_an_entry_without_the_shrinkage_that_others_have_is_refused(memory_class, with_gradients):
    """The old one would go with a new key."""
    memory = memory_class(reader=DenseReader(AnisotropicL2Affinity()))
    if memory_class is SlotMemory:
        memory.selector = FIFOSelector()
    with torch.set_grad_enabled(with_gradients):
        state = memory.write(memory.init(make_entry(shrinkage=True)), make_entry(shrinkage=True))
        before = state.clone()
        with pytest.raises(ValueError, match=r'Entry\.shrinkage: expected \(B, G, P\)'):
            memory.write(state, make_entry(1))
    assert torch.equal(before.key, state.key)


def test_products_are_made_in_blocks_that_are_as_large_as_they_may_be(monkeypatch):
    """Of 2 samples, 3 key groups, 10 positions of the query and 14 stored ones."""
    monkeypatch.setattr(readers, 'BLOCK', 2 * 3 * 14 * 4)
    query, stored = torch.randn(2, 3, 10, 5), torch.randn(2, 3, 14, 5)
    products, sizes = query @ stored.transpose(-1, -2), []

    class Sizes(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if function in (torch.Tensor.matmul, torch.Tensor.__matmul__):
                sizes.append(tuple(result.shape))
            return result

    with Sizes():
        top, index = readers._most_similar(query, stored, 3)
    assert sizes == [(2, 3, 4, 14), (2, 3, 4, 14), (2, 3, 2, 14)]
    torch.testing.assert_close(top, products.topk(3, -1).values, **TOLERANCE)
    assert torch.equal(index, products.topk(3, -1).indices)
    sizes.clear()
    with Sizes():
        best, largest = readers._best_matches(query, stored, torch.zeros(2, 1, 10))
    assert sizes == [(2, 3, 5, 10), (2, 3, 5, 10), (2, 3, 4, 10)]
    assert torch.equal(best, products.argmax(2))
    torch.testing.assert_close(largest, products.amax(-1), **TOLERANCE)
