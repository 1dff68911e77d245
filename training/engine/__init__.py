"""The one door to DeepSpeed and what surrounds it: ranks, precision, memory, what went wrong."""
