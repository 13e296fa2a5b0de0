"""How policies are compared: sampling, scoring, statistics, claims."""
