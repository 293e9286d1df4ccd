"""Long trials, run by hand: what the tests do for seconds, for minutes. `results/` keeps what came of them."""
