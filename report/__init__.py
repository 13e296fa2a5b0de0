"""What a study shows to its readers: the front page, and the captions of the Snakemake report."""
