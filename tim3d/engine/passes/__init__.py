"""One pass over the blocks: plan, submit, watch, retry, sum up."""
