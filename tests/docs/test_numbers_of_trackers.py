"""Every number of docs/trackers.md is that of a committed result file, or says what was done."""

from helpers.pages import Page
from helpers.results import log

FAMILIES = ('sam2', 'edgetam', 'sam3')
FLOAT32, FLOAT64 = 'torch.float32', 'torch.float64'


def test_trackers():
    page = Page('docs/trackers.md')
    page.settings('SAM 2', 'SAM 2.1', 'SAM 3', '`transformers` (5.23)', 'transformers 5.23')
    page.settings('label 1 on the object and 0 beside it')
    which_memory(page)
    what_was_compared(page)
    size_and_time(page)
    page.check()


def which_memory(page):
    page.settings('the latest 6 frames, up to 16 pointers', '3 pathways, each a hypothesis; 3 times the work')
    page.settings('`num_prompted` slots (4)', 'codes for 6 places')


def what_was_compared(page):
    record = log('trackers_equality')
    page.says("in transformers' own session and here. # frames,", record['frames'])
    page.settings('at frame 7, corrections at frames 12 and 20', 'loaded at frame 18')
    largest = {
        (row['dtype'], row['weights'], row['tracker'], row['seed']): row['largest'] for row in record['rows']
    }
    for seed in range(5):
        figures = [largest[FLOAT32, 1.0, name, seed] for name in FAMILIES]
        page.says(f'| {seed} | # | # | # |', figures)
    page.settings(*(f'| {seed} |' for seed in range(5)))
    assert max(largest[FLOAT32, 1.0, name, seed] for name in FAMILIES for seed in range(5)) < 1e-5
    larger = [
        [max(largest[dtype, 1.333, name, seed] for seed in range(5)) for name in FAMILIES]
        for dtype in (FLOAT32, FLOAT64)
    ]
    page.settings('at 4/3 of these weights')
    page.says('the largest is #, # and #, and in float64 #, # and #', *larger)
    page.settings('hold 1e-10 in float64', 'a memory of 5 frames instead of 6 differs by more than 1e-3')
    page.settings('60 frames, 5 seeds', 'never looks at frame 1', '150 frames, 5 seeds', 'on 30 random sets')
    page.settings('on 1,200 random cases', '(1, 2, 3 and 5 pathways)', 'weights of .95 to 1.05')
    page.settings(
        '120 frames of 3 objects with 3 masks each, 3 seeds',
        'equal to 1e-9',
        "stays SAM 2's 0",
        'have -1)',
        'and of 0,',
    )


def size_and_time(page):
    page.settings(', 64 x 64)', 'x86-64')
    small, edgetam, sam3, tiny = (log(f'trackers{name}') for name in ('', '_edgetam', '_sam3', '_tiny_256'))

    def bytes_of(record: dict, whose: str) -> list[int]:
        marks = record['size'][whose]['marks']
        return [marks[0]['state'], marks[-1]['state']]

    frames = [small['size'][whose]['frames'] for whose in ('ours', 'session')]
    page.says('| frames of one object | # | # |', frames)
    page.says(
        'after all | # and # (#) | # and # (#) |',
        bytes_of(small, 'ours'),
        small['size']['ours']['state_ratio'],
        bytes_of(small, 'session'),
        small['size']['session']['state_ratio'],
    )
    resident = [small['size'][whose]['resident_ratio'] for whose in ('ours', 'session')]
    page.says('last to first | # | # |', resident)
    times = [small['time'][f'{whose}_ms'] for whose in ('ours', 'session')]
    page.says('| a frame with # objects, in turns', small['objects'])
    page.says('on both sides | # ms | # ms |', times)
    page.says('ratio of times is #,', small['time']['ratio'])
    page.says('has # (# ms and # ms); of', *figures_of(edgetam))
    page.says('of # frames # bytes after a tenth', edgetam['frames'], bytes_of(edgetam, 'ours')[0])
    assert len(set(bytes_of(edgetam, 'ours'))) == 1
    page.says('process memory #, where', edgetam['size']['ours']['resident_ratio'])
    session = edgetam['size']['session']
    page.says("session's bytes grow # times over # frames", session['state_ratio'], session['frames'])
    page.says(
        'has # (# ms and # ms), # and # bytes, #;',
        *figures_of(sam3),
        bytes_of(sam3, 'ours'),
        sam3['size']['ours']['resident_ratio'],
    )
    page.says('the session #.', sam3['size']['session']['state_ratio'])
    page.settings('tiny at 256 x 256')
    turns = tiny['time']['turns']
    ratios = [ours / session for ours, session in zip(turns['ours'], turns['session'], strict=True)]
    page.says('was gained: #, of # turns', tiny['time']['ratio'], tiny['turns'])
    page.says('between # and # (', min(ratios), max(ratios))
    operations_of(page, tiny['time']['gflop'])


def figures_of(record: dict) -> list[float]:
    time = record['time']
    return [time['ratio'], time['ours_ms'], time['session_ms']]


def operations_of(page, gflop: dict):
    page.settings('in a frame of 8 objects that read 7 frames')
    page.says('of # GFLOP', gflop['all'])
    page.says(
        "# are the image encoder's, # the memory attention's",
        gflop['image_encoder'],
        gflop['memory_attention'],
    )
    page.says(
        '(# of them in its feed-forward layers, # in the projections',
        gflop['feed_forward'],
        gflop['cross_attention_projections'],
    )
    page.says(
        "# the memory encoder's and # the mask decoder's", gflop['memory_encoder'], gflop['mask_decoder']
    )
    saved = gflop['first_self_attention'] * 7 / 8  # once instead of for each of 8 objects
    share = 100 * saved / (gflop['all'] - gflop['image_encoder'])
    page.says('(# GFLOP less if it were shared: #% of what', saved, share)
