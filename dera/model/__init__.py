"""The realigned model: several models behind one `forward`, and what it takes to read them together."""
