"""Rewards other than a task's gold: a labeller's taste, and a reward model that learned it."""
