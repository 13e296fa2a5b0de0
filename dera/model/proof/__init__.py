"""A pair proves itself: what is checked when a realigned model is made."""
