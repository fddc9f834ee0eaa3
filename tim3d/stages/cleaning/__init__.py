"""Labels put right: islands, holes, openings, closings, majority, names of phases."""
