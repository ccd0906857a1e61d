"""The tables of endless streams, of what was tried by hand and of mutants are those of the result files."""

import json

from helpers.runs import ROOT


def test_endless_streams():
    streams = json.loads((ROOT / 'results/logs/endless.json').read_text())['streams']
    page = (ROOT / 'docs/reliability.md').read_text()
    part = page.partition('### Endless streams')[2].partition('\n## ')[0]
    rows = [line.strip('| ').split(' | ') for line in part.splitlines() if line.startswith('| ')][1:]
    assert [row[0] for row in rows] == list(streams)
    for name, frames, size, process, times in rows:
        stream = streams[name]
        smallest, largest = stream['state_bytes']
        assert frames == f'{stream["frames"]:,}'
        assert size == (f'{largest:,}' if stream['bounded'] else f'{smallest:,} to {largest:,}, grows')
        assert smallest == largest or not stream['bounded']
        assert process == f'{stream["process_growth_kib"]:+.0f}'
        assert times == '{:.2f}, {:.2f}'.format(*stream['ms'])
        assert stream['resumed_equal']


def test_tried_by_hand():
    tries = json.loads((ROOT / 'results/logs/own_tries.json').read_text())['tries']
    page = (ROOT / 'docs/reliability.md').read_text()
    rows = page.partition('| tried by hand |')[2].partition('\n\n')[0].splitlines()[2:]
    expected = [[one['name'], one['calls'], len(one['silent']), len(one['raw'])] for one in tries]
    assert [row.strip('| ').split(' | ') for row in rows] == [[str(cell) for cell in row] for row in expected]


def test_mutants():
    """The samples that have a record: their size, what was detected at first and with tests added."""
    samples = json.loads((ROOT / 'results/logs/mutation.json').read_text())['samples']
    page = (ROOT / 'docs/reliability.md').read_text()
    rows = page.partition('| sample | detected')[2].partition('\n\n')[0].splitlines()[2:]
    expected = []
    for sample in samples:
        lost = sample['not_detected_at_first'].values()
        detected, size = sample['detected'], sample['sample']
        assert len(lost) == size - detected
        of_80 = f'{sample["first_80"]}, {sample["first_80"] / 80:.1%}'
        first = f'{detected} ({detected / size:.1%}; of the first 80 {of_80})'
        with_tests = detected + sum(mutant['with_tests_added'] == 'detected' for mutant in lost)
        name = f'{size} of {sample["mutants"]:,}, seed {sample["seed"]}'
        expected.append([name, first, f'{with_tests} ({with_tests / size:.1%})'])
    found = [row.replace(' %', '%').strip('| ').split(' | ') for row in rows]
    assert found[-len(samples) :] == expected
