"""Batch machine learning for Earth and space science at planetary scale."""

__version__ = "0.1.0"
