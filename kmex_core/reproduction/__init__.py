"""The paper reproduced: which trainings and measurements its tables need, what they gave, and verdicts on them."""
