"""Where Ray and MLflow are: pools, trainers, sweeps, tracking, clusters. Everything below works without them."""
