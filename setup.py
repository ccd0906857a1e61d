"""Version, requirements, package data and the README as an index shows it; everything else that describes the
project is in pyproject.toml."""

import os
import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r"__version__ = '(.+)'", (ROOT / 'mmstremn/__init__.py').read_text())[1]
# Address of the repository, given when a release is built (CONTRIBUTING.md).
REPOSITORY = os.environ.get('MMSTREMN_REPOSITORY', '').rstrip('/')
RELATIVE_LINK = re.compile(r'(!?)\[([^]]*)\]\((?!https?:|#)([^)]*)\)')


def absolute(link: re.Match) -> str:
    """A relative link of the README as one into the repository; without an address its text alone."""
    picture, text, path = link.groups()
    kind = 'raw' if picture else 'blob'
    return f'{picture}[{text}]({REPOSITORY}/{kind}/v{VERSION}/{path})' if REPOSITORY else text


def project_urls() -> dict[str, str]:
    """The pages that an index links to."""
    urls = {'Paper': 'https://arxiv.org/abs/2109.06474'}
    if REPOSITORY:
        tree = f'{REPOSITORY}/blob/v{VERSION}'
        urls |= {'Source': REPOSITORY, 'Issues': f'{REPOSITORY}/issues'}
        urls |= {'Documentation': f'{tree}/docs/index.md', 'Changelog': f'{tree}/CHANGELOG.md'}
    return urls


# mmengine and its maintained fork onedl-mmengine own the same import package: requiring one would overwrite
# the other where that is installed. So neither is required; the extra `mm` installs the forks this library is
# tested with, and importing mmstremn says what to do where they are missing. requirements/tested.txt pins the
# versions that were tested.
MM = ['onedl-mmengine>=0.10.12', 'onedl-mmcv>=2.3.6']
# mmsegmentation imports ftfy and regex (its text models) without requiring them.
MMSEG = [*MM, 'onedl-mmsegmentation>=1.4.2', 'ftfy', 'regex']
# The tracking part of MMDetection imports trackeval and lap without requiring them.
TRACKING = [*MM, 'onedl-mmdetection>=3.5.1', 'trackeval', 'lap']
# The tables of tools/analysis_tools; pandas writes Markdown with tabulate.
ANALYSIS = ['itables', 'pandas', 'pyyaml', 'tabulate']
# SAM 2, EdgeTAM and SAM 3's tracker.
SAM2 = [*MM, 'transformers>=5.23']
PREDICTION = ['torchmetrics', 'lpips']
# Polygons of COCO in tools/dataset_converters/to_davis.py.
CONVERSION = ['pycocotools']
# The web app; COCO's run lengths among its downloads.
APP = [*MM, 'gradio>=6.31', *CONVERSION]
# ONNX graphs (`mmstremn export`) and the runtime that runs them.
EXPORT = ['onnx', 'onnxruntime']
OPENVINO = [*EXPORT, 'openvino']
# The site (`make docs`); a test builds it.
DOCS = ['furo', 'myst-parser', 'sphinx']
# What the tutorials, which are notebooks, are executed with.
NOTEBOOKS = ['ipykernel', 'nbclient', 'nbformat']
# What the linters, the campaigns of tests and mutation testing need.
CHECKS = ['hypothesis', 'import-linter', 'mutmut', 'mypy']
EXTRAS = {
    'mm': MM,
    'mmseg': MMSEG,
    'tracking': TRACKING,
    'analysis': ANALYSIS,
    'conversion': CONVERSION,
    'sam2': SAM2,
    'app': APP,
    'export': EXPORT,
    'openvino': OPENVINO,
    # SSIM as a loss, LPIPS as a measure of video prediction.
    'prediction': PREDICTION,
    'tests': [
        *MMSEG,
        *TRACKING,
        *ANALYSIS,
        *CONVERSION,
        *SAM2,
        *APP,
        *OPENVINO,
        *DOCS,
        *NOTEBOOKS,
        'playwright',  # drives Debian's chromium, where that is installed
        'pytest',
        'pytest-xdist',
        'ruff',
        'twine',  # checks what an index would show
        *CHECKS,
    ],
}
MIM_SUFFIXES = ('py', 'sh', 'yml', 'safetensors', 'md')
EXTRAS['dev'] = [*EXTRAS['tests'], 'build']
EXTRAS['all'] = [*MMSEG, *TRACKING, *ANALYSIS, *CONVERSION, *PREDICTION, *SAM2, *APP, *OPENVINO]

setup(
    version=VERSION,
    long_description=RELATIVE_LINK.sub(absolute, (ROOT / 'README.md').read_text()),
    long_description_content_type='text/markdown',
    project_urls=project_urls(),
    packages=find_packages(include=['mmstremn', 'mmstremn.*']),
    # mim and mmengine look for configs and tools in mmstremn/.mim: links in the source tree, files in a
    # wheel. The weights are there too, with their terms.
    package_data={'mmstremn': ['py.typed', *(f'.mim/**/*.{suffix}' for suffix in MIM_SUFFIXES)]},
    install_requires=[
        'torch',
        'torchvision',
        'timm>=1.0',
        'av',
        'click',
        'matplotlib',
        'numpy',
        'opencv-python',
        'pillow',
        'rich',
        'safetensors',
        'scikit-image',
        'scikit-learn',
        'scipy',
    ],
    extras_require={name: sorted(set(packages)) for name, packages in EXTRAS.items()},
)
