"""Ready-made sensors, one a module."""
