"""What the chat task is made of: the judge of refusals, and harmless requests as text files."""
