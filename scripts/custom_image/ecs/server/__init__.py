"""What a build server has and lacks, and its Docker engine."""
