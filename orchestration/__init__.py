"""Recipe to run: steps, cluster jobs, MLflow, and the command line."""
