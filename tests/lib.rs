//! Nothing: the journeys are in `it/`.
