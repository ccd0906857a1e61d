"""Mutation testing of ``mmstremn/memory`` and ``mmstremn/evaluation``.

    make mutate SAMPLE=200 SEED=0

mutmut changes one expression at a time, and of the tests in ``tests/memory`` and ``tests/evaluation`` that
run the function one must fail. 200 mutants that the seed draws are tried, with ``SAMPLE=0`` all; a larger
sample of a seed contains the smaller ones. Mutants that change nothing but the text of an error message are
left out. What is tried, and with which tests, is in pyproject.toml; the survivors that stay are listed in
docs/reliability.md.
"""

import argparse
import ast
import collections
import json
import random
import subprocess
import sys
from pathlib import Path

from mutmut import __main__ as mutmut
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir, walk_mutatable_files
from mutmut.utils.format_utils import get_mutant_name

FOLDER = Path('mutants')
DETECTED = 'killed', 'timeout', 'segfault'


class WithoutMessages(ast.NodeTransformer):
    """The same code, every string in a ``raise`` statement empty."""

    def visit_Raise(self, node):
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                part.value = ''
        return node


def write_mutants() -> None:
    """Write the copy of the sources that holds all mutants, where it is not there yet."""
    set_mutant_under_test('mutant_generation')
    FOLDER.mkdir(exist_ok=True)
    copy_src_dir()
    copy_also_copy_files()
    mutmut.create_mutants(max_children=1)


def mutants_of(path: Path) -> list[str]:
    """The mutants of a file, without those that change the text of a message alone."""
    bodies, found = {}, []
    for node in ast.walk(ast.parse((FOLDER / path).read_text())):
        if isinstance(node, ast.FunctionDef) and '__mutmut_' in node.name:
            bodies[node.name] = [ast.dump(WithoutMessages().visit(part)) for part in (node.args, *node.body)]
    for name, body in bodies.items():
        original = f'{name.rpartition("__mutmut_")[0]}__mutmut_orig'
        if body != bodies[original]:
            found.append(get_mutant_name(path, name))
    return found


def statuses() -> dict[str, str]:
    """What became of the mutants that were tried, by name."""
    codes = {}
    for path in walk_mutatable_files():
        codes |= json.loads((FOLDER / f'{path}.meta').read_text())['exit_code_by_key']
    return {name: status_by_exit_code[code] for name, code in codes.items() if code is not None}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n\n')[0])
    parser.add_argument('--sample', type=int, default=0, help='mutants to try; 0: all')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=1, help='processes')
    args = parser.parse_args()
    write_mutants()
    population = sorted(name for path in walk_mutatable_files() for name in mutants_of(path))
    random.Random(args.seed).shuffle(population)
    names = population[: args.sample or None]
    command, chosen = [sys.executable, '-m', 'mutmut'], names if args.sample else ()
    subprocess.run([*command, 'run', '--max-children', str(args.workers), *chosen], check=True)
    status = statuses()
    for name in names:
        if status[name] not in DETECTED:
            print(f'\n{status[name]}: {name}', flush=True)
            subprocess.run([*command, 'show', name], check=True)
    counts = collections.Counter(status[name] for name in names)
    detected = sum(counts[kind] for kind in DETECTED)
    print(
        f'{detected} of {len(names)} detected ({100 * detected / len(names):.1f} %), seed {args.seed}, of '
        f'{len(population)} mutants: {dict(counts)}'
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
