"""An agent that sends notifications by mail."""
