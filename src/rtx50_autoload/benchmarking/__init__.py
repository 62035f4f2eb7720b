"""How much faster a GPU is than the CPU beside it: measured here, never asserted."""
