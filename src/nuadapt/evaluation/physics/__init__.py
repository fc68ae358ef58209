"""Evaluation of particle clouds in physics terms: signals, cut-based baselines, bins of true kinematics."""
