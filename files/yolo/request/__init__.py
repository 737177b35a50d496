"""What the user asked for: images, weights and settings, checked in one place before the first change."""
