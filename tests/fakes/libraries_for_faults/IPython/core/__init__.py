"""Stands for IPython.core."""
