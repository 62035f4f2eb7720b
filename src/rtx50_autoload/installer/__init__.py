"""What would mend an environment, and the way there and back."""
