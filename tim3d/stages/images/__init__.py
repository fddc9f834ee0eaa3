"""Collections of single images: segment, measure and evaluate a folder of them."""
