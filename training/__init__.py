"""How models are made: data, tokenizer, reference (SFT), preferences, reward model, alignment."""
