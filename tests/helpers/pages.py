"""The numbers that a page states, against committed result files; and those that nothing accounts for."""

import re
from collections.abc import Iterable

from helpers.runs import ROOT

NUMBER = r'[-+]?(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?'
ALONE = re.compile(rf'(?<![\w.])(?<![A-Za-z]-){NUMBER}')  # no part of a name such as ResNet-18 or VC8
LEFT_OUT = r'```.*?```|<!--.*?-->|!?\[[^]]*\]\([^)]*\.(?:png|jpg)\)|(?<=\])\([^)]*\)|\*\*'
UNRECORDED = 'no result file'


def rounded(text: str, number: float) -> bool:
    """Whether ``text`` is the number to the decimals that it has; 1.7e-3 has four."""
    mantissa, _, exponent = text.partition('e')
    last = 10.0 ** (int(exponent or 0) - len(mantissa.partition('.')[2]))
    return abs(float(text.replace(',', '')) - number) <= 0.5 * last * (1 + 1e-6)


class Page:
    """A page, its numbers, and which of them were accounted for.

    Code blocks, comments, targets of links and bold type are left out, and white space is one space.
    """

    def __init__(self, path: str):
        self.path = path
        text = re.sub(LEFT_OUT, '', (ROOT / path).read_text(), flags=re.S)
        self.text = ' '.join(text.split())
        self.accounted = [code.span() for code in re.finditer('`[^`]*`', self.text)]

    def says(self, sentence: str, *values: float | Iterable[float]) -> None:
        """The page has a sentence once, in which each ``#`` stands for the next of ``values``.

        Raises:
            AssertionError: It has no such sentence, or several, or a number that does not round to its value.
        """
        wanted = [value for some in values for value in (some if isinstance(some, Iterable) else [some])]
        found = self._find(sentence, f'({NUMBER})')
        assert len(found) == 1, f'{self.path}: expected once, found {len(found)} times: {sentence}'
        groups = found[0].groups()
        assert len(groups) == len(wanted), f'{self.path}: {len(wanted)} values for {sentence}'
        wrong = {text: value for text, value in zip(groups, wanted, strict=True) if not rounded(text, value)}
        assert not wrong, f'{self.path}: {sentence}: expected {wrong}'
        self.accounted += [found[0].span(index + 1) for index in range(len(groups))]

    def settings(self, *texts: str) -> None:
        """Words of the page whose numbers are no results: they say what was done."""
        for text in texts:
            found = self._find(text, '#')
            assert found, f'{self.path}: not found: {text}'
            self.accounted += [match.span() for match in found]

    def unrecorded(self, *texts: str, said: str | None = None) -> None:
        """Words with numbers of which the page says that no file holds them: there, or where ``said`` is."""
        for place in [said] if said else texts:
            assert UNRECORDED in place and place in self.text, (
                f'{self.path}: expected "{UNRECORDED}": {place}'
            )
        self.settings(*texts)

    def unaccounted(self) -> list[str]:
        """The numbers that neither a sentence nor a setting accounts for, with the words before them."""
        inside = {index for start, end in self.accounted for index in range(start, end)}
        return [
            self.text[max(0, number.start() - 30) : number.end()]
            for number in ALONE.finditer(self.text)
            if number.end() - 1 not in inside
        ]

    def check(self) -> None:
        """Fails if a number is left that nothing accounts for."""
        left = self.unaccounted()
        assert not left, f'{self.path}: say in tests/docs/test_numbers_of_* which results these are: {left}'

    def _find(self, words: str, number: str) -> list[re.Match]:
        pattern = number.join(re.escape(part) for part in ' '.join(words.split()).split('#'))
        return list(re.finditer(rf'(?<![\w.]){pattern}(?!\w)', self.text))
