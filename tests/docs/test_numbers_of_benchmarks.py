"""Every number of docs/benchmarks.md is that of a committed result file, or says what was done."""

import statistics

from helpers.pages import Page
from helpers.results import (
    BOARDS,
    MEASURES,
    SHIPPED,
    Board,
    alarms_of,
    load,
    log,
    mean_score,
    measures,
    score,
    videos_of_both,
)


def test_benchmarks():
    page = Page('docs/benchmarks.md')
    page.settings('2 CPU cores', '24 GiB', 'Python 3.11')
    accuracy(page)
    the_demo(page)
    other_libraries(page)
    prediction(page)
    promises(page)
    many_objects(page)
    segment(page)
    public_code(page)
    videos_at_once(page)
    page.check()


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
    page.says('trained on for longer: J&F #', score('v2_val10_480'))
    page.says('| copy the first mask | # | # | # | One', measures('copy_first_val10_480'))
    without, foreign = log('absence_without_head_val10_240'), log('absence_foreign_val10_240')
    for title, result in {
        '`stremn_r18`, without a presence head': without,
        '`stremn_r18_presence`': foreign,
        '`stremn_r18_v2`, the default': log('v2_foreign_val10_240'),
    }.items():
        figures = len(result['videos']), result['metrics']['false_alarms'], result['metrics']['J&F']
        page.says(f'| {title} | # | # | # |', *figures)
    both = videos_of_both('absence_foreign_val10_240', 'absence_without_head_val10_240')
    assert alarms_of(both)[1] == 0
    page.says('no false alarm and J&F #', mean_score(both))
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
    page.says('a tiny backbone | #; # to # |', 1, min(ratios.values()), max(ratios.values()))
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
    page.says('STReMN (random weights) | #; # to # |', 1, min(times.values()), max(times.values()))
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


def segment(page):
    rows = log('segment')['results']
    page.says('takes # of the time of float32', rows['bfloat16']['ratio_to_float32'])
    for name, row in rows.items():
        page.says(f'| {name} |{" # |" * 13}', row['cpu_ms_per_frame'].values())
    before = log('segment_before')
    cpu, wall = before['before_over']['cpu'], before['before_over']['wall']
    for name, words in {
        'bfloat16': '# times the CPU time of now in',
        'float32': '# times that of now in',
    }.items():
        of_turns = cpu[name]['of_turns']
        page.says(f'{words} {name} (# to #', cpu[name]['median'], min(of_turns), max(of_turns))
    page.says('by the clock # and # times', wall['bfloat16']['median'], wall['float32']['median'])
    page.settings('of 60 frames of 480 x 854', f'{log("segment")["turns"]} paired turns', '(commit 8ed3a65')
    for name, title in {
        'segment_1080': '1080 x 1920, 5 objects, 36 frames',
        'segment_1080_longer': '1080 x 1920, 5 objects, 108 frames',
        'segment_50': '480 x 854, 50 objects, 24 frames',
    }.items():
        run = log(name)
        page.says(f'| {title} | # | # |', run['peak_bytes_before'] / 2**20, run['peak_bytes'] / 2**20)
        page.settings(f'| {title} |')
    page.settings('at 480 rows; bfloat16', 'within about 60 frames')


def public_code(page):
    for name, model in {
        'stcn': 'STCN',
        'stcn_bf16': 'STCN',
        'stcn_both_bf16': 'STCN',
        'xmem': 'XMem',
        'xmem_bf16': 'XMem',
        'cutie_small': 'Cutie-small',
        'cutie_small_bf16': 'Cutie-small',
    }.items():
        run = log(f'official_speed_{name}')
        assert (run['size'], run['turns'], run['threads'], run['fuse']) == ([480, 864], 3, 2, True)
        for objects, row in run['objects'].items():
            line = f'| {model} | {objects} | {run["precision"]} | {run["public_precision"]} |'
            page.says(f'{line} # | # |', row['ratio'], row['difference'])
            page.settings(line)
    page.settings('of 480 x 864 at equal', '3 paired turns of five frames')


def videos_at_once(page):
    for precision in ('float32', 'bfloat16'):
        run = log(f'videos_at_once_{precision}')
        assert run['computed_in'] == precision
        for result in run['results']:
            if result['threads'] == 2:
                line = f'| {result["size"][0]} x {result["size"][1]} | {result["videos"]} | {precision} |'
                page.says(f'{line} # | # |', result['gain'], result['confidence_difference'])
                page.settings(line)
    page.settings('3 paired turns of 8 frames', 'Below the 1.3')
