"""How a study is planned, run and recorded: what every stage shares and no stage owns."""
