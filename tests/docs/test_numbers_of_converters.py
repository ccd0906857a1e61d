"""Every number of docs/converters.md is that of a committed result file, or says what was done."""

import pytest
from helpers.pages import Page
from helpers.results import log

BOUND = 1e-4


class Rows:
    """The frames of a comparison of Cutie with its public code."""

    def __init__(self, name: str):
        self.rows = log(f'official_cutie_{name}')['rows']

    def largest(self, mode: str) -> float:
        """The largest difference; fed frames are computed again, tied and settled, only where it is above."""
        return max(row[mode] for row in self.rows if mode in row)

    def above(self, mode: str) -> list[int]:
        """The frames that differ by more than the bound."""
        return [index for index, row in enumerate(self.rows) if row.get(mode, 0) > BOUND]


def test_converters():
    page = Page('docs/converters.md')
    page.settings('DAVIS 2017', 'every 5th; STM', 'top 20 or 30', 'evicts 2,000 prototypes')
    page.unrecorded(
        'seed 1, STM seed 0',
        '| STCN | 30 at 480 x 854 | 1.7e-5 | 1.6e-5; 7.9e-3 in four frames in which a tie at rank 20 was',
        '| STM | 30 at 480 x 854 | 3.3e-5 | 3.7e-5 |',
        'limit 200, 3 consolidations, 2 evictions | 100 at 240 x 426 | 1.5e-5; 2.9e-3 in five frames',
        'with such ties at rank 30 | 2.3e-5',
        '2.9e-3 in these five frames',
        '(1e-4 in keys of size 50 to 100)',
        'one or two of 1,620 positions had two candidates at ranks 20 and 21',
        'at most 1.1e-5: rounding',
        'one or two of 405 positions in each of the five frames, 6 of 40,095 in all',
        'ranks 30 and 31 within 1e-5',
        'it is at most 2.3e-5',
        '(seed 1) STM differs by 1.5e-2',
        '64,000 of 410,000 pixels',
        said='those of STCN, STM and XMem have no result file',
    )
    page.settings('at 75 x 101 pixels', 'has steps of .02', 'near 1. With seed 0 no such')
    page.settings('480 rows.* XMem', 'similarities exceed 88', 'at most 10.')
    table_of_cutie(page)
    page.check()


def table_of_cutie(page):
    page.settings(
        'Cutie (seed 0)', 'at rank 30', 'less than 1e-5', 'fed and 1e-3 free, by ties', 'above 1e-4 has'
    )
    page.settings('240 x 426, 3 consolidations, 2 evictions', 'bounds of 1e-4 fed', 'base at 240 rows')
    small, base, small_large, base_large = (
        Rows(name) for name in ('small_100', 'base_100', 'small_30', 'base_30')
    )
    line = '{} | #; more than # in # frames |'
    for name, rows in (
        ('small, # at 240 x 426, 3 consolidations, 2 evictions', small),
        ('base, # at 240 x 426, likewise', base),
        ('small, # at 480 x 854', small_large),
        ('base, # at 480 x 854', base_large),
    ):
        fed = rows.largest('fed'), BOUND, len(rows.above('fed'))
        page.says(line.format(f'| {name}'), len(rows.rows), fed)
        assert all(rows.rows[index]['ties'] for index in rows.above('fed')), 'a tie at rank 30'
    page.settings('| small, 100 at 240 x 426', '| base, 100 at 240 x 426', '30 at 480 x 854')
    of_modes = [small.largest(mode) for mode in ('fed_tied', 'free', 'tied')]
    page.says('in 3 frames | # | # | # | not needed', of_modes)
    assert not small.above('tied')
    frame = base.above('tied')[0]
    assert base.above('tied') == list(range(frame, 100)), 'all later frames differ'
    tied = base.largest('fed_tied'), BOUND, len(base.above('fed_tied')), base.largest('free')
    page.says('in 19 frames | #; more than # in # frames | # |', tied)
    figures = base.largest('tied'), BOUND, frame, base.largest('settled')
    page.says('| #; more than # from frame # on | # |', figures)
    only = small_large.largest('fed_tied'), BOUND, len(small_large.above('fed_tied'))
    page.says('in 11 frames | #; more than # in # frame | # |', only, small_large.largest('free'))
    settled = Rows('small_30_settled')
    page.says(
        '| #; more than # in frame # | # | | base',
        small_large.largest('tied'),
        BOUND,
        *small_large.above('tied'),
        settled.largest('settled'),
    )
    assert not any(row['surprises'] for row in settled.rows)
    flips = {index: row['flips'] for index, row in enumerate(settled.rows) if row['flips']}
    page.says('it is one position in each of the frames #, # and #.', flips.keys())
    assert set(flips.values()) == {1}
    again_large = Rows('base_30_settled')
    only = base_large.largest('fed_tied'), BOUND, len(base_large.above('fed_tied'))
    page.says(
        'in 16 frames | #; more than # in # frame | # | # | # |',
        only,
        base_large.largest('free'),
        base_large.largest('tied'),
        again_large.largest('settled'),
    )
    assert not any(row['flips'] or row['surprises'] for row in again_large.rows)
    page.says('every fed frame is equal to # with', again_large.largest('fed_tied'))
    page.unrecorded(
        "The test's 14 frames of small at 75 x 101 have 8.9e-6 fed and 4.9e-6 free (no result file)"
    )
    flips = {index: row['flips'] for index, row in enumerate(base.rows) if row['flips']}
    assert flips == {frame: 1} and not any(row['surprises'] for row in base.rows)
    page.says('one position of one mask in frame #;', frame)
    page.says('this one position all # frames are equal to #,', len(base.rows), base.largest('settled'))
    again = [row['fed_settled'] for row in base.rows if 'fed_settled' in row]
    assert len(again) == 2
    page.says('the two fed frames to #;', max(again))
    page.settings('In small at 480 rows', 'In base at 480 rows')


@pytest.mark.parametrize(
    'name', ['small_100', 'base_100', 'small_30', 'small_30_settled', 'base_30', 'base_30_settled']
)
def test_the_parts_of_a_record_are_those_of_its_command(name):
    record = log(f'official_cutie_{name}')
    assert f'--frames {len(record["rows"])}' in record['command']
    assert f'cutie_{name.partition("_")[0]}' in record['command']
