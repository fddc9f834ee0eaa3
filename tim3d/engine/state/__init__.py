"""Files beside a sample: markers of finished blocks, the lock, the journal."""
