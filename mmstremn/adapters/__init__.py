"""Memories inside the models of other libraries. Nothing here is imported by ``import mmstremn``.

Each module imports its library; a config names the modules it needs::

    custom_imports = dict(imports=['mmstremn.adapters.mmseg'])
"""
