"""Stands for IPython."""
