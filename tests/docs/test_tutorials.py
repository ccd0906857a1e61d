"""The tutorials run, at a small size, in a process of their own, and do what they say.

A tutorial's cell with the tag ``parameters`` is replaced by small ones, as papermill does, and a last cell is
added that checks the names which the tutorial leaves.
"""

import re
import textwrap

import nbformat
import pytest
from helpers.runs import ROOT
from nbclient import NotebookClient

TUTORIALS = sorted((ROOT / 'docs/tutorials').glob('*.ipynb'))
SMALL = dict(
    segment_my_video='FRAMES, SHORT_SIDE = 12, 96',
    swap_a_memory='FRAMES, SHORT_SIDE = 31, 32',
    train_a_selector='ITERATIONS, FRAMES = 2, 11',
    sam2_bounded_memory="CONFIG, FRAMES = 'adapters/sam2/random_small.py', 24",
)
CHECKS = dict(
    segment_my_video="""
        assert len(written) == FRAMES and 0 < len(again) < FRAMES and doubtful in again
        assert min(iou(written, number) for number in rendered.object_ids) > 0.5
        assert (written[doubtful] == rendered.mask(doubtful)).all()
        files = {'masks', 'overlay.mp4', 'objects.csv', 'review.csv', 'slots.png'}
        assert {path.name for path in Path('results').iterdir()} == files
    """,
    swap_a_memory="""
        assert sizes['SlotMemory'][0] == sizes['SlotMemory'][-1]
        assert sizes['GrowingMemory'][0] < sizes['GrowingMemory'][-1]
        assert not (timelines['FIFOSelector'] == timelines['MostSimilarSelector']).all()
        assert type(memory.selector).__name__ == 'GumbelSelector'
    """,
    train_a_selector="""
        from safetensors.torch import load_file

        assert age != 1 and likeness != 1
        given, now = load_file(cfg.load_from), model.state_dict()
        new = {name for name in now if name not in given}
        assert new == {'memory.selector.weights'}
        assert all(torch.equal(now[name], given[name].to(now[name])) for name in now if name not in new)
    """,
    sam2_bounded_memory="""
        assert len(results) == FRAMES and len(set(held)) == 1
        assert (stream.step(frame) == resumed.step(frame)).all()
        assert not (timeline(model) == timeline(logarithmic)[:, : timeline(model).shape[1]]).all()
    """,
)


def read(path):
    return nbformat.read(path, as_version=4)


def test_all_are_here():
    assert {path.stem for path in TUTORIALS} == SMALL.keys() == CHECKS.keys()


@pytest.mark.parametrize('path', TUTORIALS, ids=lambda path: path.stem)
def test_tutorial(path, tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    notebook = read(path)
    (parameters,) = (cell for cell in notebook.cells if 'parameters' in cell.metadata.get('tags', []))
    parameters.source = SMALL[path.stem]
    notebook.cells.append(nbformat.v4.new_code_cell(textwrap.dedent(CHECKS[path.stem])))
    NotebookClient(notebook, timeout=300, resources=dict(metadata=dict(path=str(tmp_path)))).execute()


@pytest.mark.parametrize('path', TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_is_stored_without_what_it_printed(path):
    notebook = read(path)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.cell_type != 'code' or (cell.outputs == [] and cell.execution_count is None)


@pytest.mark.parametrize('path', TUTORIALS, ids=lambda path: path.stem)
def test_links_of_tutorials_lead_somewhere(path):
    text = '\n'.join(cell.source for cell in read(path).cells if cell.cell_type == 'markdown')
    links = [link for link in re.findall(r'\]\(([^)#\s]+)', text) if not link.startswith('http')]
    assert links and all((path.parent / link).is_file() for link in links), links
