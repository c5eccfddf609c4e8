"""The study `bias`: what a data set holds, what tells chosen from rejected, and how rates differ between leaves."""
