"""How good a run's detections are, against labels that the user has."""
