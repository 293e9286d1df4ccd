"""cav-mini's toy world: a deterministic renderer of short clips in three dimensions, with exact ground truth."""
