"""Long versions of tests that run for seconds otherwise, started by hand. `results/` holds their results."""
