"""Confidence against true J: the figures, and the study from data to result file."""

import json
import runpy

import pytest
from helpers.davis_tree import add_sequence, draw_ids
from helpers.runs import ROOT, SMALL_VOS

from mmstremn.apis import init_segmentor
from mmstremn.checkpoints.weight_files import write_weights

study = runpy.run_path(str(ROOT / 'studies/confidence/run.py'))


def test_agreement():
    pairs = [(k / 20, k / 20) for k in range(20)]
    right = study['agreement'](pairs)
    assert right['spearman'] == pytest.approx(1) and (right['found'], right['worst'], right['listed']) == (
        2,
        2,
        4,
    )
    assert right['j_listed'] == pytest.approx(0.075) and right['j_others'] == pytest.approx(0.575)
    wrong = study['agreement']([(1 - confidence, j) for confidence, j in pairs])
    assert wrong['spearman'] == pytest.approx(-1) and wrong['found'] == 0


def test_the_study(tmp_path, capsys):
    add_sequence(tmp_path, 'bear', [draw_ids(t, (1, 2)) for t in range(5)], split='dev')
    weights = tmp_path / 'w.safetensors'
    write_weights(weights, init_segmentor(SMALL_VOS, device='cpu').state_dict(), {})
    options = ['--model', str(SMALL_VOS), '--checkpoint', str(weights), '--out', str(tmp_path / 'out.json')]
    assert study['main']([str(tmp_path), *options]) == 0, capsys.readouterr().err
    result = json.loads((tmp_path / 'out.json').read_text())
    assert result['results']['bear']['frames'] == 2 * 4 == len(result['confidence_and_j']['bear'])
    assert study['main']([str(tmp_path / 'none'), *options]) == 1
