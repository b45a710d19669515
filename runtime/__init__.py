"""Whatever executes a model: sessions, calibration data, moments, the lockstep walk, evaluation."""
