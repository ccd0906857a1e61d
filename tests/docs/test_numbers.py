"""The numbers of README, benchmarks and model card are those of the committed result files."""

import statistics

import pytest
from helpers.pages import Board, Page, load, rounded
from helpers.runs import ROOT

LOGS, BOARDS = 'results/logs', 'results/leaderboards'
MEASURES = ('J-Mean', 'F-Mean', 'J&F')
SHIPPED = 'shipped_stremn_val10_480'


def log(name: str):
    return load(f'{LOGS}/{name}.json')


def measures(name: str) -> list[float]:
    """J, F and J&F of a test."""
    return [log(name)['metrics'][measure] for measure in MEASURES]


def score(name: str) -> float:
    return log(name)['metrics']['J&F']


def check(page: Page) -> None:
    assert not page.unaccounted(), f'{page.path}: say in {__name__} which results these numbers are'


def test_readme():
    page = Page('README.md')
    page.says(
        'J&F # with the learned selector and # with FIFO', score(SHIPPED), score('shipped_fifo_val10_480')
    )
    page.says('Copying the first mask has #', score('copy_first_val10_480'))


# docs/model_card.md


def test_model_card():
    page = Page('docs/model_card.md')
    for name in ('stremn_r18', 'stremn_r18_presence'):
        page.says('# bytes.' if name == 'stremn_r18' else '(# bytes,', weight_bytes(name))
    page.says('object segmentation, # M parameters', weight_bytes('stremn_r18') / 2e6)
    how_it_was_made(page)
    its_results(page)
    with_several_objects_or_sizes(page)
    with_a_presence_head(page)
    page.settings('208 x 208 pixels', 'at 480 rows', 'section 5')
    check(page)


def weight_bytes(name: str) -> int:
    return (ROOT / f'weights/{name}.safetensors').stat().st_size


def how_it_was_made(page):
    page.settings('stride 16', 'keys of 64, values of 256 channels', 'every 5th frame', 'the 20 most similar')
    page.settings(
        '3,099 photographs', 'ECSSD (999), PASCAL-S (839), DUTS-TR (499)', 'Parsing (360), SOD (232)'
    )
    page.settings(
        'Penn-Fudan (170)', 'Apache-2.0', '| 1 |', '| 2 |', '26 short', '(CC BY-NC 4.0 as', 'CC BY-NC-SA 4.0'
    )
    page.settings(
        'DAVIS 2017', '(CC BY-NC 4.0, CC BY 4.0 in places)', '| 6 further', '(CC BY 4.0)', 'DAVIS 2016'
    )
    page.settings('2016 or 2017', 'seed 0')
    page.unrecorded('about 100 minutes (no result file)')


def its_results(page):
    page.settings('(656 frames, 480 rows)', 'keeps every 5th frame', 'every 5th frame and')
    for title, name in {
        'these weights': SHIPPED,
        'the same recipe with FIFO instead of the learned selector': 'shipped_fifo_val10_480',
        "the same recipe with STCN's memory, which keeps every 5th frame": 'shipped_stcn_val10_480',
        "the same recipe with STM's schedule: every 5th frame and the previous one, all positions read": (
            'shipped_stm_val10_480'
        ),
        'these weights, every frame offered, all positions read': f'{SHIPPED}_every_frame',
        'the same with FIFO': 'shipped_fifo_val10_480_every_frame',
        'copy the first mask': 'copy_first_val10_480',
    }.items():
        page.says(f'| {title} | # | # | # |', measures(name))
    stcn = Board(f'{BOARDS}/shipped')('stcn')
    page.says("STCN's memory was # ahead", stcn - score(f'{SHIPPED}_every_frame'))
    page.says('what STCN has (#,', stcn)
    fifo = 'shipped_fifo_val10_480'
    page.says('FIFO here: # behind', score(fifo) - score(SHIPPED))
    page.settings('by less than .01', 'with 8 to 18 frames')
    logs = [log(name)['videos'] for name in (SHIPPED, fifo, 'copy_first_val10_480')]
    behind = []
    for videos in zip(*logs, strict=True):
        cells = [video['mean'][measure] for video in videos for measure in ('J-Mean', 'F-Mean')]
        page.says(f'| {videos[0]["name"]} | # / # | # / # | # / # |', cells)
        behind.append(videos[1]['mean']['J&F'] - videos[0]['mean']['J&F'])
    assert sum(difference > 0 for difference in behind) == 8 and max(behind) < 0.01  # as the page says
    speeds = [log(name)['metrics']['fps'] for name in (SHIPPED, f'{SHIPPED}_every_frame')]
    page.says('# frames a second on one busy core', speeds[0])
    page.says('first candidate, #)', speeds[1])


def with_several_objects_or_sizes(page):
    now, first = log('shipped_stremn_multi'), log('shipped_stremn_multi_every_frame')
    trees, girls = (video['mean']['J&F'] for video in now['videos'])
    page.says('2 objects at 480 rows, #; schoolgirls', trees)
    page.says('alike at 240 rows, #) J&F is #', girls, now['metrics']['J&F'])
    page.says('candidate had # (schoolgirls: #,', first['metrics']['J&F'], first['videos'][1]['mean']['J&F'])
    page.settings('2 objects at 480 rows', '7 who look alike at 240 rows')
    page.unrecorded(
        'copying the first mask, .388)',
        'variant .260, copying the first mask .330',
        said='of copying and of the older variant there is no result file',
    )
    growing = Board('studies/growing')
    figures = growing('learned_every_5th_top_k'), score('shipped_dev_enlarged')
    page.says('J&F goes from # to #', figures)
    page.says('bring it to #', score('shipped_dev_flip'))
    page.settings('have 136 to 240 rows')


def with_a_presence_head(page):
    plain, foreign, without = (
        log(f'absence_{name}') for name in ('val10_480', 'foreign_val10_240', 'without_head_val10_240')
    )
    page.says('ten sequences, 480 rows: J&F | # | # |', score(SHIPPED), plain['metrics']['J&F'])
    absent, alarms = alarms_of(foreign['videos'])
    page.says('false alarms | - | # % of # frames', 100 * foreign['metrics']['false_alarms'], absent)
    page.says('after a return | - | # |', foreign['metrics']['reidentification'])
    names = {video['name'] for video in without['videos']}
    both = [video for video in foreign['videos'] if video['name'] in names]
    absent, _ = alarms_of(without['videos'])
    page.says(
        '| # % of # frames | # % |', 100 * without['metrics']['false_alarms'], absent, alarms_of(both)[1]
    )
    returned = [one['absence'] for video in both for one in video['objects'].values()]
    again = sum(one['returned_sum'] for one in returned) / sum(one['returned'] for one in returned)
    page.says('after a return | # | # |', without['metrics']['reidentification'], again)
    with_head = statistics.mean(video['mean']['J&F'] for video in both)
    page.says('the same: J&F | # | # |', without['metrics']['J&F'], with_head)
    page.says('All # false alarms', alarms)
    page.settings('a head of 65 numbers', 'ten sequences, 480 rows', 'of 10 frames after every 20, 240 rows')


def alarms_of(videos) -> tuple[int, int]:
    """Frames without their object, and the false alarms among them."""
    found = [one['absence'] for video in videos for one in video['objects'].values() if one.get('absence')]
    return sum(one['absent'] for one in found), sum(one['alarms'] for one in found)


# docs/benchmarks.md


def test_benchmarks():
    page = Page('docs/benchmarks.md')
    page.settings('2 CPU cores', '24 GiB', 'Python 3.11')
    accuracy(page)
    the_demo(page)
    other_libraries(page)
    prediction(page)
    promises(page)
    many_objects(page)
    check(page)


def accuracy(page):
    page.settings(
        'DAVIS 2016', '(656 frames, 480 rows)', 'seed 0', 'learned selector, 5 slots', 'FIFO, 5 slots'
    )
    page.settings(
        'every 5th frame', 'at 240 rows with foreign shots of 10 frames after every 20', '.1 % is painted'
    )
    for title, name in {
        'STReMN, learned selector, 5 slots': SHIPPED,
        'FIFO, 5 slots': 'shipped_fifo_val10_480',
        'STCN, which keeps every 5th frame': 'shipped_stcn_val10_480',
        "STM's schedule, which grows: every 5th frame and the previous one": 'shipped_stm_val10_480',
    }.items():
        page.says(f'| {title} | # | # | # |', measures(name))
    page.says('| copy the first mask | # | # | # | One', measures('copy_first_val10_480'))
    without, foreign = log('absence_without_head_val10_240'), log('absence_foreign_val10_240')
    for title, result in {
        '`stremn_r18`, without a presence head': without,
        '`stremn_r18_presence`': foreign,
    }.items():
        figures = len(result['videos']), result['metrics']['false_alarms'], result['metrics']['J&F']
        page.says(f'| {title} | # | # | # |', *figures)
    names = {video['name'] for video in without['videos']}
    both = [video for video in foreign['videos'] if video['name'] in names]
    assert alarms_of(both)[1] == 0
    page.says('no false alarm and J&F #', statistics.mean(video['mean']['J&F'] for video in both))
    page.says('the same masks (J&F #)', score('absence_val10_480'))


def the_demo(page):
    results = log('demo_metrics')['results']
    titles = {'learned selector': 'stremn', 'FIFO': 'fifo'}
    for title, name in titles.items():
        page.says(f'| {title} | # | # | # |', [results[name][measure] for measure in MEASURES])
    copied = [results['copy_first_mask'][measure] for measure in MEASURES]
    page.says('| copy the first mask | # | # | # | 12', copied)
    page.says('random weights: # iterations', log('demo_metrics')['iterations'][0])
    page.says('at 128 px, then # of two', log('demo_metrics')['iterations'][1])
    page.settings('128 px', 'videos of 40 frames with 1 to 3 objects')
    page.unrecorded(
        *('12 min 6 s', 'gave .308 and .250', 'gave .264 (learned) and .265'),
        said='of the time and of these other runs there is no result file',
    )


def other_libraries(page):
    table = load('studies/mmseg_memory/result.json')
    gains = {line['condition']: line['gain'] for line in table['table'] if line['metric'] == 'mIoU'}
    ratio = table['cost']['time_ratio']['testing']
    figures = gains['noise and hidden'], gains['undisturbed'], ratio
    page.says('mIoU # ± # under noise and occlusion, # ± # without, # times', *figures)
    rows = load('studies/tracking_occlusion/result.json')['summary']
    switches = {
        row['tracker']: row['IDSW']
        for row in rows
        if (row['head'], row['returns']) == ('MaskTrack R-CNN', 'earlier')
    }
    names = 'mmdet (MaskTrackRCNNTracker)', 'diversity, 5 slots', 'learned, 5 slots'
    page.says('switches # to # with the best rule, # with', [switches[name] for name in names])
    page.settings('3.7e-5')


def prediction(page):
    board, study = Board(f'{BOARDS}/moving_digits'), Board('studies/prediction')
    page.settings(
        '10 -> 10 at 32 px, 500 test clips, 250 iterations of 8 clips', 'iteration 125', 'frames 6-10'
    )
    copied = board('predrnn', 'copy_last/PSNR')
    late = statistics.mean(board.of('predrnn')[0]['per_frame']['copy_last/PSNR'][5:])
    for title, name in {
        'PredRNN, two layers of 48': 'predrnn',
        'ConvLSTM, two layers of 48': 'convlstm',
        'PredRNN-V2, two layers of 48': 'predrnn_v2',
        'STReMN with L2 alone and residual prediction (`stremn_residual`)': 'stremn_residual',
        'E3D-LSTM, two layers of 24': 'e3d_lstm',
        'STReMN as its config has it: L1 + L2, five slots, learned selector': 'stremn',
    }.items():
        psnr = board.spread(name, 'PSNR')
        worst = min(statistics.mean(row['per_frame']['PSNR'][5:]) for row in board.of(name)) - late
        figures = board(name, 'SSIM'), board(name, 'MAE'), board.frames(name, 6, 10), worst
        page.says(f'| {title} | # | # | # | # | # | # | # |', len(board.of(name)), psnr, *figures)
        page.settings(f'| {title} |')
    page.says('| copy the last frame | | # | | | | # |', copied, late)
    gained = [row['PSNR'] - row['copy_last/PSNR'] for row in board.rows]
    page.says('is more than # dB above', 1)
    assert min(gained) > 1
    plain = [study('plain', measure) for measure in ('PSNR', 'SSIM', 'MAE')]
    page.says('STReMN has # dB on the development clips (SSIM #, MAE #', plain)
    convlstm = Board(f'{BOARDS}/moving_digits_dev')('convlstm', 'PSNR')
    page.says('others), # below ConvLSTM', convlstm - plain[0])
    page.says('brings # of it back', study('residual', 'PSNR') - plain[0])
    page.says('and # behind PredRNN', board('predrnn', 'PSNR') - board('stremn_residual', 'PSNR'))
    page.settings('opencv 5.0')


def promises(page):
    growth = log('growth_all_memories_2000')['results']
    ratios = {name: result['time_ratio'] for name, result in growth.items() if result['fixed']}
    full = ratios.pop('TwoLevelMemory')
    assert all(growth[name]['bytes_ratio'] == 1 for name in ratios)
    page.says(
        'a tiny backbone | # ; # to # |'.replace(' ;', ';'), 1, min(ratios.values()), max(ratios.values())
    )
    page.says('10,000 positions | #; # |', 1, full)
    filled = log('growth_two_level_full')['results']['TwoLevelMemory']
    page.says('128 x 128 pixels | #; # |', filled['bytes_ratio'], filled['time_ratio'])
    page.says('one and two threads) | #, # |', [run['ratio'] for run in log('read')['results']])
    page.says('240 x 427, ResNet-18 | # |', log('objects')['ratio'])
    loading = log('loading')
    page.says('the loader alone: # ms a batch', loading['ms_per_batch'])
    page.says('a step # s) | # |', loading['ms_per_step']['loaded'] / 1000, loading['ratio'])
    page.says('`results/logs/stcn_step.json`) | # |', log('stcn_step')['ratio'])
    steps = [log('openstl_step')[name] for name in ('convlstm', 'predrnn', 'e3d_lstm')]
    ratio = steps[2]['first_step']['ours'][0] / steps[2]['first_step']['theirs'][0]
    page.says('after a step that took #) | #, #, # |', ratio, [step['ratio'] for step in steps])
    page.says('E3D-LSTM | #, #, # |', [step['memory']['ratio'] for step in steps])
    rollout = log('rollout_1000')['results']
    times = {name: result['time_ratio'] for name, result in rollout.items()}
    predrnn = times.pop('predrnn_moving_digits')
    page.says('STReMN (random weights) | #; # to # |', 1, min(times.values()), max(times.values()))
    flushed = log('rollout_1000')['predrnn_with_set_flush_denormal']['predrnn_moving_digits']
    page.says('it is # | #; # |', flushed['time_ratio'], 1, predrnn)
    page.settings(
        *('| 1.02; 1.10 |', '| 1.2 |', '| 1.9 |', '| 1.05 |', '| 1.0 |', '| 0.8 |', '| 1e-5 |', '| 1e-6 |'),
        *('median of 20 paired turns', 'at frame 2,000 over frame 50', '64 x 64 pixels', '10,000 positions'),
        *(
            'frame 4,000 over frame 2,000, 128 x 128 pixels',
            'a read of 8 slots at 30 x 54 positions, key 64, value 512',
        ),
        *(
            'median of 30',
            'with 8 objects over 4, 240 x 427',
            'stage 1 of',
            'median of 4 paired turns of 6 steps',
        ),
        *(
            'of 4 clips',
            'three 384 x 384',
            '(batch 1, float32, one thread, 2 paired turns',
            '10 -> 10, 64 px, 4 x 128',
        ),
        *('(batch 4,', 'median of 16', 'PredRNN (6)', '(1, after', 'frame 1,000 over 50', '16 runs | 0.0 |'),
        *(
            'equal to 1e-6',
            '12 sizes up to 1080 x 1920, 300-frame videos',
            '1 to 255 frames',
            'from 256 frames',
        ),
    )
    page.settings(
        'VOSegmentor | 3.0e-8 |', '300-frame videos) | 0.0 |', '255 frames | 3.3e-16 |', '| 0 | 0 |'
    )


def many_objects(page):
    for run in log('objects')['results']:
        page.says(f'| {run["objects"]} |{" # |" * 7}', run['ms_per_frame'], run['ms_per_step'].values())
        page.settings(f'| {run["objects"]} |')


# How the pages of the other tests are compared.


@pytest.fixture
def page(tmp_path):
    file = tmp_path / 'page.md'
    file.write_text(
        '# ResNet-18\n\nIt has **.781** on\n5 videos, `k=20`, [10.5 MB](file_3.md).\n\n```bash\nrun 7\n```\n'
    )
    return Page(str(file))


def test_a_page_whose_numbers_are_all_accounted_for(page):
    page.says('It has # on', 0.7814757)
    page.says('`k=20`, [# MB]', 10.46)
    assert page.unaccounted() == ['# ResNet-18 It has .781 on 5']
    page.settings('5 videos')
    assert not page.unaccounted()


@pytest.mark.parametrize(
    'sentence, values',
    [('It has # on', [0.7826]), ('It had # on', [0.7814]), ('#', [0.781]), ('It has # on', [0.781, 5])],
)
def test_what_a_page_does_not_say_is_seen(page, sentence, values):
    with pytest.raises(AssertionError, match=r'page\.md'):
        page.says(sentence, values)


def test_what_no_file_holds_must_be_said(page):
    with pytest.raises(AssertionError, match='no result file'):
        page.unrecorded('5 videos')
    with pytest.raises(AssertionError, match='not found: 6 videos'):
        page.settings('6 videos')


def test_a_wrong_number_is_seen():
    assert rounded('.781', 0.7814757) and not rounded('.782', 0.7814757) and not rounded('.78', 0.7899)
