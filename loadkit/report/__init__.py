"""Records: built from samples, judged, merged, printed. Nothing here measures."""
