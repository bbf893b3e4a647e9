"""The processes of a run: workers, what is said to them, and how they end."""
