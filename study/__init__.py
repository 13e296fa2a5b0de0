"""How one run is configured, identified and recorded: what every stage shares and no stage owns."""
