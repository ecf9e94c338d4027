"""The basin part of `grace_downscale`."""
