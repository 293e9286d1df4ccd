"""Long trials of what the tests try for seconds; they are run by hand. `results/` holds their results."""
