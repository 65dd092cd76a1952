"""What a model costs: floors from bytes and arithmetic, measured times, and plans of training runs."""
