"""What to learn from: pairs, examples, groups by difficulty, and filters. Pure functions over records."""
