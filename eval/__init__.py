"""How policies are compared: decoding, baselines, scoring, tables, statistics and claims."""
