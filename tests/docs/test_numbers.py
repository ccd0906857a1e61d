"""How numbers of pages are compared with result files; those of README."""

import pytest
from helpers.pages import Page, rounded
from helpers.results import SHIPPED, score


def test_readme():
    page = Page('README.md')
    page.says(
        'J&F # with the learned selector and # with FIFO', score(SHIPPED), score('shipped_fifo_val10_480')
    )
    page.says('the default weights have J&F #;', score('v2_val10_480'))
    page.says('Copying the first mask has #', score('copy_first_val10_480'))


@pytest.fixture
def page(tmp_path):
    file = tmp_path / 'page.md'
    file.write_text(
        '# ResNet-18\n\nIt has **.781** on\n5 videos, `k=20`, [10.5 MB](file_3.md), off by 1.7e-3.\n\n'
        '```bash\nrun 7\n```\n'
    )
    return Page(str(file))


def test_a_page_whose_numbers_are_all_accounted_for(page):
    page.says('It has # on', 0.7814757)
    page.says('`k=20`, [# MB]', 10.46)
    page.says('off by #.', 0.00168)
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
    assert rounded('1.7e-3', 0.00168) and not rounded('1.7e-3', 0.0018) and not rounded('1.7e-3', 0.00016)
    assert rounded('1e-4', 1.4e-4) and not rounded('1e-4', 1.6e-4) and rounded('2.5e+6', 2_540_000)
