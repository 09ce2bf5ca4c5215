"""One module per DVC stage, of the same name, and the commands around them."""

from models.instructions import settle

settle()
