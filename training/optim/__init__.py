"""Parameter groups, schedules, optimizers, averages of weights."""
