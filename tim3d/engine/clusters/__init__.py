"""Clusters that run blocks: this process, local workers, Slurm jobs, or a scheduler's address."""
