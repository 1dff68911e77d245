"""Ways of measuring a model on a task, one file each behind one small interface."""
