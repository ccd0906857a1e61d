"""One progress bar, with the time left, over several stages of work."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mmengine.hooks import Hook
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mmstremn.registry import HOOKS


@HOOKS.register_module()
class ProgressHook(Hook):
    """Reports every iteration of training and testing.

    Args:
        report: Called with the number of iterations done, 1.
    """

    def __init__(self, report: Callable[[int], None]):
        self.report = report

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self.report(1)

    def after_test_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self.report(1)


class RateColumn(ProgressColumn):
    """How many steps are done a second.

    Args:
        unit: Of the steps.
    """

    def __init__(self, unit: str):
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """The rate, once it is known."""
        return Text(f'{task.speed:.1f} {self.unit}/s' if task.speed else '')


class StagedProgress:
    """A bar over stages whose steps cost different times. Where the output is no terminal, a line per stage.

    What is printed meanwhile is left alone, so the streams may be redirected to a file.

    Args:
        console: Bound to its file when it is made (``Console(file=sys.stdout)``).
        unit: Of the steps, such as ``'frames'``: the bar shows how many there are a second.

    Attributes:
        name: Of the stage that runs or ran last.
        seconds: Wall time of every finished stage by name.
    """

    def __init__(self, console: Console, unit: str | None = None):
        stage = TextColumn('{task.description:<26}', markup=False)
        columns = [stage, BarColumn(), TextColumn('{task.percentage:>3.0f} %')]
        columns += [TimeElapsedColumn(), TextColumn('left'), TimeRemainingColumn()]
        columns += [] if unit is None else [RateColumn(unit)]
        self._bar = Progress(
            *columns, console=console, redirect_stdout=False, redirect_stderr=False, speed_estimate_period=120
        )
        self._task = self._bar.add_task('starting', total=None)
        self.name = 'starting'
        self.seconds: dict[str, float] = {}

    @contextmanager
    def running(self, total: float) -> Iterator[None]:
        """Show the bar; ``total`` is the cost of all stages together, in any unit."""
        self._bar.update(self._task, total=total)
        with self._bar:
            yield
            self._bar.update(self._task, completed=total, description='done')

    @contextmanager
    def stage(self, name: str, cost: float = 1.0) -> Iterator[Callable[[int], None]]:
        """A stage. Call what it gives with every number of steps done, each of which costs ``cost``."""
        self.name = name
        self._bar.update(self._task, description=name)
        if not self._bar.console.is_terminal:
            self._bar.console.print(f'{name} ...', markup=False, emoji=False, highlight=False)
        begin = time.perf_counter()
        yield lambda steps: self._bar.advance(self._task, steps * cost)
        self.seconds[name] = round(time.perf_counter() - begin, 1)
