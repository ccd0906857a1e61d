"""The tables of endless streams and of what was tried by hand are those of the result files."""

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
