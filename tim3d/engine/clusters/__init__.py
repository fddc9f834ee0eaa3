"""Where blocks run: this process, local workers, Slurm jobs, or the address of a scheduler."""
