"""Moving frames from sources through the estimator to the caller."""
