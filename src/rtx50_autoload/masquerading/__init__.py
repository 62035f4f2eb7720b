"""Who is told which compute capability, and how torch is brought to tell it."""
