"""What the cells of a study say together: rates, differences, findings, curves, and the front."""
