"""What tasks on real text share."""
