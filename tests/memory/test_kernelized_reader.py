"""KMN's reader against its formula: the kernel multiplies the exponential of the affinity."""

import math

import pytest
import torch
from helpers.memory_cases import reader_contents

from mmstremn.memory import (
    AnisotropicL2Affinity,
    DotAffinity,
    KernelizedReader,
    L2Affinity,
    Query,
    TopKReader,
)

GRID, POSITIONS = (4, 5), 20


def by_formula(affinity, sigma, floor, query, key, shrinkage, value, usable, b, g):
    """The readouts and the slots' shares of one row, every position read."""
    width = GRID[1]
    q, k = affinity(
        Query(query.key.double(), query.selection.double()),
        key.flatten(2, 3).double(),
        shrinkage.flatten(2).double(),
    )
    similarity = q[b, 0] @ k[b, g].T  # (P, N), all but a constant of each p
    whole = similarity
    if isinstance(affinity, L2Affinity):
        distance = query.key[b, :, None].double() - key[b, g].flatten(0, 1).double()
        whole = -distance.square().sum(-1) / key.shape[-1] ** 0.5
    weight = torch.zeros_like(similarity)
    for n in range(similarity.shape[1]):
        if usable[b, g, n // POSITIONS]:
            best = int(whole[:, n].argmax())
            for p in range(POSITIONS):
                dy, dx = p // width - best // width, p % width - best % width
                kernel = max(math.exp(-(dy**2 + dx**2) / (2 * sigma**2)), floor)
                weight[p, n] = similarity[p, n].exp() * kernel
    weight = weight / weight.sum(1, keepdim=True)
    share = weight.unflatten(1, (-1, POSITIONS)).sum(2).mean(0)
    return weight @ value[b, g].flatten(0, 1).double(), share


@pytest.mark.parametrize('affinity', [L2Affinity, DotAffinity, AnisotropicL2Affinity])
@pytest.mark.parametrize('sigma, floor, groups', [(1.0, 0, 1), (2.5, 0, 2), (1.0, 0.3, 2)])
def test_equals_the_formula(affinity, sigma, floor, groups):
    case = reader_contents(GRID, groups)
    reader = KernelizedReader(affinity(), k=3 * POSITIONS, sigma=sigma, floor=floor).eval()
    readout, share = reader(*case)
    for b in range(2):
        for g in range(groups):
            expected = by_formula(affinity(), sigma, floor, *case, b, g)
            torch.testing.assert_close(readout[b, g].double(), expected[0], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(share[b, g].double(), expected[1], rtol=1e-4, atol=1e-5)


def test_a_wide_kernel_reads_as_top_k_does_and_a_narrow_one_does_not():
    case = reader_contents(GRID)
    expected = TopKReader(k=6).eval()(*case)
    wide, narrow = (KernelizedReader(k=6, sigma=sigma).eval()(*case) for sigma in (1e4, 1.0))
    for got, want in zip(wide, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert (narrow[0] - expected[0]).abs().max() > 0.1


def test_the_nearest_affinity_is_that_without_the_kernel():
    case = reader_contents(GRID)
    KernelizedReader(k=6, sigma=1.0).eval()(*case)
    found = case[0].found['nearest'].clone()
    TopKReader(k=6).eval()(*case)
    torch.testing.assert_close(found, case[0].found['nearest'])


@pytest.mark.parametrize('floor', [0.0, 0.3])
def test_blocks_do_not_change_what_is_read(monkeypatch, floor):
    case = reader_contents(GRID, groups=2)
    reader = KernelizedReader(k=7, sigma=2.0, floor=floor).eval()
    whole = reader(*case)
    monkeypatch.setattr('mmstremn.memory.readers.BLOCK', 100)
    for got, want in zip(reader(*case), whole, strict=True):
        torch.testing.assert_close(got, want)


def test_in_training_all_positions_count_alike():
    case = reader_contents(GRID)
    expected = TopKReader()(*case)
    for got, want in zip(KernelizedReader(sigma=1.0)(*case), expected, strict=True):
        torch.testing.assert_close(got, want)


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match=r'KernelizedReader\.sigma must be positive, got 0'):
        KernelizedReader(sigma=0)
    with pytest.raises(ValueError, match=r'KernelizedReader\.floor must be at least 0 and below 1, got 1'):
        KernelizedReader(floor=1.0)
    query, *rest = reader_contents(GRID)
    with pytest.raises(ValueError, match=r'KernelizedReader needs Query\.extras'):
        KernelizedReader().eval()(Query(query.key, query.selection), *rest)
