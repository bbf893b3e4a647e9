"""Charts of a run: from a record to a picture, the sentence that says what it shows, and the table of its numbers."""
