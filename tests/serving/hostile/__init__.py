"""Files that mean harm, made small: each costs its sender kilobytes, or a few megabytes, and a trusting reader gigabytes or hours."""
