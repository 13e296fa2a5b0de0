"""One script for each figure, and one shared style. The scripts read tables and nothing else."""
