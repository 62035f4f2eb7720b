"""Makes the AI stack run on RTX 50-series GPUs; installed once, never imported."""

__version__ = "0.1.0"
