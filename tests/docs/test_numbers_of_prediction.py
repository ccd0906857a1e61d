"""Every number of docs/prediction.md is that of a committed result file, or says what was done."""

from helpers.pages import Page
from helpers.results import Board

BOARDS = 'results/leaderboards'


def test_prediction():
    page = Page('docs/prediction.md')
    short, long = Board(f'{BOARDS}/moving_digits'), Board(f'{BOARDS}/moving_digits_5000')
    names = 'predrnn', 'convlstm', 'stremn_residual', 'stremn'
    page.says(
        'PredRNN has # dB, ConvLSTM #, STReMN # with residual prediction and # as its config is',
        [short(name, 'PSNR') for name in names],
    )
    page.says('copying the last frame #', short('predrnn', 'copy_last/PSNR'))
    best = [long(name, 'PSNR') for name in ('beside', 'predrnn')]
    page.says('it has # dB and PredRNN # (three seeds each)', best)
    page.says('lower SSIM, # against #', [long(name, 'SSIM') for name in ('beside', 'predrnn')])
    page.says('it has # (one seed)', long('cells', 'PSNR'))
    assert [len(long.of(name)) for name in ('beside', 'predrnn', 'cells')] == [3, 3, 1]
    page.settings('Trained for 5,000 iterations')
    page.check()
