"""What a YAML spec may say. Text in, `ExperimentSpec` out; no torch, no pandas, no numpy."""
