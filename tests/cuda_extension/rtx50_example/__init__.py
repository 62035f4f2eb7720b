"""Holds one extension."""
