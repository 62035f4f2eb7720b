"""Asking the user's own assistant, with the facts in hand and with consent."""
