"""Shape of phases: 2x2x2 configurations, surface, curvature, components."""
