"""Downscale GRACE water storage: `python pipelines/grace_downscale.py [--field value ...]`."""
