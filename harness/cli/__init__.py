"""What a person types and sees: the words of the command line, its commands, and the screen."""
