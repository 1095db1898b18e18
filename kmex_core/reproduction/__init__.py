"""The paper reproduced: which trainings and measurements its tables need, what they gave, a verdict on each cell."""
