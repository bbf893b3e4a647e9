"""What is measured: the board that workers write, its histograms and counters, and how the parent reads them."""
