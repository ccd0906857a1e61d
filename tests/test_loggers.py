"""mmengine's loggers live longer than the captured output of the test that made them."""

import pytest
from mmengine.logging import MMLogger


@pytest.mark.parametrize('turn', [1, 2])
def test_a_logger_outlives_the_output_of_its_test(turn, capsys):
    MMLogger.get_instance('outlives').info(f'turn {turn}')
    assert capsys.readouterr().err == ''
