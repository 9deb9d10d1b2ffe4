"""Public corpora by name: used as they are on the disk, or downloaded, checked and unpacked.

A new corpus is one entry of ``CORPORA`` in ``table.py``.
"""
