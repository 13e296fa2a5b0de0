"""One script a figure, one shared style; they read tables and nothing else."""
