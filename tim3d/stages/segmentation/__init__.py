"""Labels from grey values, and the training of networks."""
