"""What a teacher asks about a class: how it learns, what is difficult, who needs help."""
