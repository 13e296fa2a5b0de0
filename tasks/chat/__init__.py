"""What chat tasks are made of: measures, the judge of refusals, harmless requests as texts."""
