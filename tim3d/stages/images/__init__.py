"""Collections of single images: segment, measure and score a folder of them."""
