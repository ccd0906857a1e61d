"""The table of endless streams is that of the result file."""

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
