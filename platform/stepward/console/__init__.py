"""What a person at a terminal sees of a job: its progress, and how it ended."""
