"""Commands that measure: Dice by annotated effort, and cost."""
