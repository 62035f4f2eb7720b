"""What an examination looks like in a browser or a notebook."""
