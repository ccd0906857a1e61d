"""Without mmsegmentation the adapter says what to install; everything else works."""

import importlib
import re
import sys
from pathlib import Path

import pytest

import mmstremn


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmseg', None)
    monkeypatch.delitem(sys.modules, 'mmstremn.adapters.mmseg', raising=False)
    with pytest.raises(
        ModuleNotFoundError, match=r'needs mmsegmentation\. Fix: pip install onedl-mmsegmentation'
    ):
        importlib.import_module('mmstremn.adapters.mmseg')


def test_nothing_else_imports_mmsegmentation():
    package = Path(mmstremn.__file__).parent
    files = [
        path
        for path in package.rglob('*.py')
        if not {'mmseg', '.mim'} & set(path.parts) and path.name != 'mmseg_.py'
    ]
    assert len(files) > 50
    pattern = re.compile(r'^\s*(from|import) (mmseg|mmstremn\.adapters\.mmseg_?)\b', re.M)
    assert not [path for path in files if pattern.search(path.read_text())]
