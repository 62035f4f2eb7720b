"""What the machine truly has: facts only. Nothing here patches or prints."""
