"""What is recorded, where, and how it is read: the board, its histograms and counters."""
