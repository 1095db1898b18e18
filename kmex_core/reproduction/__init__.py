"""The paper reproduced: which trainings and measurements its tables need, what they gave, and a verdict on each cell."""
