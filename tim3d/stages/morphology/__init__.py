"""Distance, thickness and what is made of them."""
