"""Asking the user's own assistant: what is sent, to whom, and what comes back."""
