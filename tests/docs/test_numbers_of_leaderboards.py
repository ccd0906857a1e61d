"""Every number of results/leaderboards/README.md is that of a leaderboard, or says what was done."""

from helpers.pages import Page
from helpers.results import BOARDS, SHIPPED, Board, score

MEASURES = ('J', 'F', 'J&F')


def percent(board: Board, name: str) -> list[float]:
    """J, F and J&F, the means over seeds, in percent."""
    return [100 * board(name, measure) for measure in MEASURES]


def test_leaderboards():
    page = Page('results/leaderboards/README.md')
    page.settings('1 MB each')
    long_memories(page)
    long_test(page)
    development(page)
    shipped(page)
    real_video(page)
    page.check()


def long_memories(page):
    board = Board(f'{BOARDS}/long_memories')
    spreads = {}
    for name in dict.fromkeys(row['memory'] for row in board.rows):
        spreads[name] = board.spread(name)[1]
        figures = 100 * spreads[name], len(board.of(name)), board.megabytes(name)
        page.says(f'| {name} | # | # | # | # | # | # |', percent(board, name), *figures)
    first = [row['J&F'] for name in ('gumbel', 'fifo') for row in board.of(name) if row['seed'] == 0]
    page.says('FIFO was #, with three it is #', first[0] - first[1], board('gumbel') - board('fifo'))
    page.says('The spread is large (up to #)', max(spreads.values()))
    page.settings(
        'train 40 iterations', '150 frames', '128 px', 'had 40 iterations', 'every 5th', 'within .05'
    )
    assert min(g['J&F'] - b['J&F'] for g, b in zip(board.of('gumbel'), board.of('blended'), strict=True)) > 0


def table(page: Page, before: str, board: Board, titles: list[str]) -> None:
    """The rows of a table of J, F and J&F; a title may name several memories, which are equal."""
    rows = ' '.join(f'| {title} | # | # | # |' for title in titles)
    page.says(
        f'{before} | memory | J | F | J&F | |---|---|---|---| {rows}',
        *(percent(board, title.split(', ')[0]) for title in titles),
    )
    for title in titles:
        first, *others = title.split(', ')
        assert all(abs(board(name) - board(first)) < 5e-4 for name in others), title


def long_test(page):
    joint, alone = Board(f'{BOARDS}/long_test'), Board(f'{BOARDS}/long_test_selector_alone')
    titles = ['gumbel', 'random', 'readmem', 'fifo, lru, lfu, rmem', 'most_similar, lifo']
    table(page, 'offered every frame:', joint, titles)
    titles = ['fifo', 'rmem', 'lfu', 'lru', 'gumbel', 'random', 'most_similar', 'readmem']
    table(page, 'had other names):', alone, titles)
    ahead = [joint('gumbel') - joint(name) for name in ('random', 'readmem', 'fifo', 'lifo')]
    page.says('choice by #, of READMem by #, of FIFO, LRU, LFU and RMem by #, of the others by #', ahead)
    page.says('FIFO every 5th frame has #', alone('fifo'))
    alike = [joint.video('gumbel', '001_look_alikes'), alone.video('fifo', '001_look_alikes')]
    page.says('(# against # on the second video)', alike)
    page.settings('200 to 2,000 frames', 'offered every 5th', 'FIFO every 5th')


def development(page):
    joint, by_fifo = Board(f'{BOARDS}/long_dev'), Board(f'{BOARDS}/long_dev_trained_with_fifo')
    page.says('learned # with four slots and # with two', joint('learned_4'), joint('learned_2'))
    page.says('with two, FIFO # with four', joint('fifo_4'))
    page.says('FIFO # every frame and # every 5th', by_fifo('fifo_every_frame'), by_fifo('fifo'))
    similar = by_fifo('most_similar_every_frame'), by_fifo('most_similar')
    page.says('most similar # and #', similar)
    page.settings('200 to 600 frames', 'offered every 5th frame)', 'every 5th, most', '5,000 frames')
    page.settings('every 5th frame')
    long = Board(f'{BOARDS}/long_5000')
    page.says('every frame: learned #, FIFO #, both', long('gumbel'), long('fifo'))
    page.says('both with # MB of state', long.megabytes('fifo'))
    page.says('5th frame, # with # MB', long('stcn'), long.megabytes('stcn'))


def shipped(page):
    board, growing = Board(f'{BOARDS}/shipped'), Board('studies/growing')
    for title, name in {
        'STCN: every 5th frame, top 20': 'stcn',
        "STM's schedule: every 5th frame and the previous one, all read": 'stm',
    }.items():
        page.says(f'| {title} | # | # |', board(name), board.megabytes(name))
        page.settings(f'| {title} |')
    slots = growing.megabytes('learned')
    page.says('every 5th frame, top 20 ([model card]) | # | # |', score(SHIPPED), slots)
    page.says('every frame, all read | # | # |', score(f'{SHIPPED}_every_frame'), slots)
    page.settings('every 5th frame, top 20', 'DAVIS 2016', '480 rows', 'after 40 to 90 frames')


def real_video(page):
    board = Board(f'{BOARDS}/davis16_val10')
    names = ['stcn', 'stm', 'most_similar', 'gumbel', 'fifo', 'lru']
    page.says(
        f'state, MB | |---|---|---|---|---| {" ".join(f"| {name} | # | # | # | # |" for name in names)}',
        *([*percent(board, name), board.megabytes(name)] for name in names),
    )
    slots = [board(name) for name in ('most_similar', 'gumbel', 'fifo', 'lru')]
    ahead = min(board('stcn'), board('stm')) - max(slots), max(board('stcn'), board('stm')) - min(slots)
    page.says('ahead by # to #', ahead)
    page.says(
        'learned #, FIFO #, LRU #, most similar #',
        [board(n) for n in ('gumbel', 'fifo', 'lru', 'most_similar')],
    )
    page.settings('(656 frames) at 240 rows', 'for 60 iterations', 'after 60 to 90 frames', 'within .01')
