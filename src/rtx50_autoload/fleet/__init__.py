"""The examination of every node of a Ray cluster; Ray itself is met in a process of its own."""
