"""Rewards other than a task's own gold: a labeller's taste, and a reward model that learned it."""
