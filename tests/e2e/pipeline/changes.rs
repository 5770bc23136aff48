//! What changes while a pipeline is at work, or between two runs of it.
