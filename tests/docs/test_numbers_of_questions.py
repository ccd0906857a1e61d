"""Every number of docs/questions.md is that of a committed result file, or says what was done."""

import statistics

from helpers.pages import Page
from helpers.results import BOARDS, SHIPPED, Board, load, log, score

from studies.edited_videos.run import interval


def test_questions():
    page = Page('docs/questions.md')
    many, long = Board(f'{BOARDS}/long_memories'), Board(f'{BOARDS}/long_test')
    page.settings('128 px, 8 x 8 positions')

    # Why learn what to overwrite, when rules are free?
    page.says(
        'learned # ± #, READMem # ± #, random # ± #, LRU # ± #, FIFO # ± #;',
        *(many.spread(name) for name in ('gumbel', 'readmem', 'random', 'lru', 'fifo')),
    )
    page.says('FIFO offered every 5th frame # ± #', many.spread('fifo_every_5th'))
    page.says('as in AOT, # ± #', many.spread('aot'))
    page.settings('videos of 150 frames', 'FIFO offered every 5th frame')
    page.says('nine selectors (#; random #,', long('gumbel'), long('random'))
    page.says('READMem #, FIFO #)', long('readmem'), long('fifo'))
    alone = Board(f'{BOARDS}/long_test_selector_alone')
    page.says('FIFO every 5th frame has # and it has #', alone('fifo'), alone('gumbel'))
    page.settings('FIFO every 5th frame has', '30 frames forward')
    rows = load('studies/choice_headroom/result.json')['results']['fifo_every_5th']
    rule, foresight, truth = (
        statistics.mean(row[name] for row in rows) for name in ('rule', 'foresight', 'true_masks')
    )
    page.says('gains # J&F over FIFO', foresight - rule)
    page.says('under the same rule gains #', truth - rule)
    decoded = load('studies/edited_videos/decoded_dev.json')['results']
    both = [[row['balanced'] for row in decoded[name]] for name in ('fifo_prompted_present', 'as_trained')]
    page.says('five slots it has # and FIFO #', statistics.mean(both[1]), statistics.mean(both[0]))
    gain, low, high = interval(*both)
    page.says('(difference #, 95 % interval # to # over # development', gain, low, high, len(both[0]))
    page.settings('95 % interval')
    own, true = (
        load(f'studies/edited_videos/foresight_{name}.json')['results'] for name in ('dev', 'true_dev')
    )
    means = {name: statistics.mean(row['balanced'] for row in rows) for name, rows in (true | own).items()}
    plan, rules = means['plan'], [means[name] for name in own if name not in ('plan', 'as_trained')]
    fifo = 'fifo_prompted_present'
    page.says('is # ahead of the best rule', plan - max(rules))
    page.says('bring FIFO # (# videos', means[f'{fifo}_true_masks'] - means[fifo], len(own['plan']))
    methods = load('studies/selector_gradient/result.json')['summary']['methods']
    for words, name in {'to the loss is': 'blending', '(`History`) it is': 'history'}.items():
        figures = methods[name]['correlation']
        page.says(f'{words} # ± #', figures['mean'], figures['error'])
    slots, by_fifo = Board('studies/slots'), Board(f'{BOARDS}/long_dev_trained_with_fifo')
    similar = Board('studies/cadence')('most_similar_every_1')
    page.says('free to skip, it has # J&F', slots('learned_4'))
    page.says('where FIFO has # and most similar # with the same', slots('fifo_4'), similar)
    every = by_fifo('fifo_every_frame'), by_fifo('most_similar_every_frame')
    page.says('FIFO reaches # with FIFO and # with', every)

    # Is it the choice that matters, or how often one is asked?
    page.says('slots has # J&F offered every 5th frame of development video 0', rows[0]['rule'])
    page.settings('offered every 5th frame of development video 0', 'every 5th')
    page.unrecorded('.35 offered every frame (no result file)')
    page.says('(# against # on the first four development videos,', every[0], by_fifo('fifo'))
    page.says('most similar # against #)', every[1], by_fifo('most_similar'))
    learned, fifo = score(SHIPPED), score('shipped_fifo_val10_480')
    page.says('bring # to # J&F', score('shipped_stremn_val10_480_every_frame'), learned)
    page.says('nothing there (# and #)', learned, fifo)
    page.settings('the 20 most similar')

    # Does a memory have to grow?
    stcn = Board(f'{BOARDS}/shipped')('stcn')
    page.says('memory has # on the same test sequences', stcn)
    page.says('as it is have #, at a sixth', learned)
    page.settings('after 40 to 90 frames', 'On 5,000 frames')

    # Why is fusion hard? Slots or one blended template?
    page.says('help (# ± #; without # ± #)', many.spread('gumbel_fusion'), many.spread('gumbel'))
    page.says('alignment (# ± #;', many.spread('gumbel_align'))
    page.says('`BlendedMemory` (the mean of all frames) has # ± #', many.spread('blended'))
    page.says('slots have # ± # and FIFO # ± #', many.spread('gumbel'), many.spread('fifo'))
    alike = ('001_look_alikes', '005_look_alikes')
    figures = {
        name: [many.video(name, video, 0) for video in alike] for name in ('blended', 'fifo_every_5th')
    }
    page.says('the blend had # and # where', figures['blended'])
    page.says('where FIFO every 5th has # and #', figures['fifo_every_5th'])
    page.settings('(seed 0)')

    # How many slots?
    page.says('two slots #, four #, eight #, sixteen #', [slots(f'learned_{n}') for n in (2, 4, 8, 16)])
    page.says('selector; FIFO #, #, #, #', [slots(f'fifo_{n}') for n in (2, 4, 8, 16)])

    # Does the memory recognise key moments?
    traits = load('studies/what_is_kept/result.json')['memories']['learned_4']['traits']
    of = [traits[name]['spearman'] for name in ('novelty', 'turn', 'visible')]
    page.says('correlations of # and #; with the share of the object that is visible #', of)

    # What do masks change? How does it scale?
    page.says('take FIFO from # to # J&F', rule, truth)
    page.says('Twice the objects cost # times', log('objects')['ratio'])
    page.settings(
        'to 2,000 frames', 'some 2,000 frames on', 'On one video of 5,000 frames', 'keeps every 5th frame'
    )
    longest = Board(f'{BOARDS}/long_5000')
    page.says('selector has # J&F, FIFO #,', longest('gumbel'), longest('fifo'))
    page.says('both with # MB', longest.megabytes('fifo'))
    times = [longest('stcn', 'ms_per_frame') / longest(name, 'ms_per_frame') for name in ('fifo', 'gumbel')]
    page.says('has # with # MB and # to # times', longest('stcn'), longest.megabytes('stcn'), times)
    page.check()
